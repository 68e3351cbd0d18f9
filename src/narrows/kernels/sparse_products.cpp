// Products of a sparse matrix of codes Z [n, size], given as (atoms, values), with dense ones.
#include <cstdint>
#include <vector>

namespace {

// out = Z D: each signal is a combination of a few rows of D [size, dim].
template <class T>
void combine(const int64_t* atoms, const T* values, const T* dictionary, long n, long width,
             long dim, int threads, T* out) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < n; ++row) {
        T* target = out + row * dim;
        for (long j = 0; j < dim; ++j) target[j] = 0;
        for (long i = row * width; i < (row + 1) * width; ++i) {
            const T value = values[i];
            if (value == 0) continue;
            const T* atom = dictionary + atoms[i] * dim;
            for (long j = 0; j < dim; ++j) target[j] += value * atom[j];
        }
    }
}

// out = Z^T Y for rows Y [n, dim]: what flows back to each atom. Threads share the columns
// rather than the rows, so that sums are taken in the order of the rows whatever their number.
template <class T>
void adjoint(const int64_t* atoms, const T* values, const T* rows, long n, long width, long dim,
             long size, int threads, T* out) {
    constexpr long BLOCK = 32;
    const long blocks = (dim + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long block = 0; block < blocks; ++block) {
        const long from = block * BLOCK, to = from + BLOCK < dim ? from + BLOCK : dim;
        std::vector<T> sums(size * BLOCK);
        for (long row = 0; row < n; ++row) {
            const T* source = rows + row * dim + from;
            for (long i = row * width; i < (row + 1) * width; ++i) {
                const T value = values[i];
                if (value == 0) continue;
                T* target = sums.data() + atoms[i] * BLOCK;
                if (to - from == BLOCK) {
                    for (long j = 0; j < BLOCK; ++j) target[j] += value * source[j];
                } else {
                    for (long j = 0; j < to - from; ++j) target[j] += value * source[j];
                }
            }
        }
        for (long k = 0; k < size; ++k) {
            for (long j = from; j < to; ++j) out[k * dim + j] = sums[k * BLOCK + j - from];
        }
    }
}

// out_ni = <y_n, d_atoms_ni>
template <class T>
void dots(const int64_t* atoms, const T* rows, const T* dictionary, long n, long width, long dim,
          int threads, T* out) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long row = 0; row < n; ++row) {
        const T* y = rows + row * dim;
        for (long i = row * width; i < (row + 1) * width; ++i) {
            const T* atom = dictionary + atoms[i] * dim;
            T sum = 0;
#pragma omp simd reduction(+ : sum)
            for (long j = 0; j < dim; ++j) sum += y[j] * atom[j];
            out[i] = sum;
        }
    }
}

}  // namespace

#define NARROWS_PRODUCTS(T, SUFFIX)                                                              \
    extern "C" void combine_##SUFFIX(const int64_t* atoms, const T* values, const T* dictionary, \
                                     long n, long width, long dim, long threads, T* out) {        \
        combine<T>(atoms, values, dictionary, n, width, dim, threads, out);                      \
    }                                                                                            \
    extern "C" void adjoint_##SUFFIX(const int64_t* atoms, const T* values, const T* rows,       \
                                     long n, long width, long dim, long size, long threads,       \
                                     T* out) {                                                   \
        adjoint<T>(atoms, values, rows, n, width, dim, size, threads, out);                      \
    }                                                                                            \
    extern "C" void dots_##SUFFIX(const int64_t* atoms, const T* rows, const T* dictionary,      \
                                  long n, long width, long dim, long threads, T* out) {           \
        dots<T>(atoms, rows, dictionary, n, width, dim, threads, out);                           \
    }

NARROWS_PRODUCTS(float, float32)
NARROWS_PRODUCTS(double, float64)
