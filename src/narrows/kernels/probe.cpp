// Smallest kernel there is: shows that the compiler, OpenMP and ctypes work together.
extern "C" void probe(const double* x, long n, int threads, double* total) {
    double sum = 0.0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum)
    for (long i = 0; i < n; ++i) sum += x[i];
    *total = sum;
}
