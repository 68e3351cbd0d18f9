// Orthogonal matching pursuit, and the k largest correlations, signal by signal.
//
// A block of signals times the dictionary is computed in registers, 12 signals by 32 atoms at a
// time (as in nearest.cpp), into a buffer that stays in the second-level cache, and each row of
// it is worked off at once: the n x K correlations never exist. A signal is one thread's work
// from start to end, and its sums run in the same order wherever it stands, so that its code
// depends on nothing else in the batch.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "coding.h"

namespace {

template <class T>
struct Problem {
    const T* signals;     // [n, dim]
    const T* dictionary;  // [size, dim]
    const T* gram;        // [size, size], or null
    long n, dim, size;
};

#if defined(__AVX512F__)
constexpr long TALL = 12, VECTORS = 2;  // 24 accumulators of 32 registers
#else
constexpr long TALL = 3, VECTORS = 1;  // 64 bytes are two registers of 16, or four
#endif
constexpr long ROWS = 4 * TALL;  // signals of a block

// The dictionary in panels [panel][dim][WIDE], zeros for the atoms that are none.
template <class T>
struct Panels {
    static constexpr long WIDE = VECTORS * LANES<T>;
    long dim, padded;
    std::vector<T> values;

    explicit Panels(const Problem<T>& p)
        : dim(p.dim), padded((p.size + WIDE - 1) / WIDE * WIDE), values(padded * p.dim) {
        for (long k = 0; k < p.size; ++k) {
            T* column = values.data() + k / WIDE * WIDE * dim + k % WIDE;
            for (long d = 0; d < dim; ++d) column[d * WIDE] = p.dictionary[k * dim + d];
        }
    }

    // out[TALL][padded] <- signals in `tile` [dim][TALL] times all atoms.
    void correlate(const T* tile, T* out) const {
        for (long k = 0; k < padded; k += WIDE) {
            const T* panel = values.data() + k * dim;
            V<T> sum[TALL][VECTORS] = {};
            for (long d = 0; d < dim; ++d) {
                V<T> atom[VECTORS];
                for (long v = 0; v < VECTORS; ++v) {
                    atom[v] = load(panel + (d * VECTORS + v) * LANES<T>);
                }
                for (long r = 0; r < TALL; ++r) {
                    for (long v = 0; v < VECTORS; ++v) sum[r][v] += tile[d * TALL + r] * atom[v];
                }
            }
            for (long r = 0; r < TALL; ++r) {
                for (long v = 0; v < VECTORS; ++v) {
                    store(out + r * padded + k + v * LANES<T>, sum[r][v]);
                }
            }
        }
    }
};

// The correlations of one block of signals after another.
template <class T>
struct Block {
    const Problem<T>& p;
    const Panels<T>& panels;
    std::vector<T> tile, correlations;

    Block(const Problem<T>& problem, const Panels<T>& packed)
        : p(problem), panels(packed), tile(TALL * problem.dim),
          correlations(ROWS * packed.padded) {}

    void fill(long first, long count) {
        for (long row = 0; row < count; row += TALL) {
            for (long r = 0; r < TALL; ++r) {
                const T* x = p.signals + (first + std::min(row + r, count - 1)) * p.dim;
                for (long d = 0; d < p.dim; ++d) tile[d * TALL + r] = x[d];
            }
            panels.correlate(tile.data(), correlations.data() + row * panels.padded);
        }
    }

    T* row(long i) { return correlations.data() + i * panels.padded; }
};

// The largest magnitude of a row of numbers and where it first stands, gathered along the way.
template <class T>
struct Peak {
    static constexpr long W = LANES<T>, BLOCK = 4 * W;
    V<T> most = {};
    typename Vector<T>::integers block = {};
    T value = 0;
    long at = -1;

    static V<T> larger(V<T> a, V<T> b) { return a > b ? a : b; }
    static V<T> magnitude(V<T> v) { return v < 0 ? -v : v; }

    // Four vectors that stand at `BLOCK * number`.
    void take(const V<T>* v, long number) {
        const V<T> best = larger(larger(magnitude(v[0]), magnitude(v[1])),
                                 larger(magnitude(v[2]), magnitude(v[3])));
        const auto grows = best > most;
        most = grows ? best : most;
        typename Vector<T>::integers here = {};
        here += static_cast<typename Vector<T>::integer>(number);
        block = grows ? here : block;
    }

    void scan(const T* row, long size) {
        long k = 0;
        for (; k + BLOCK <= size; k += BLOCK) {
            V<T> v[4];
            for (int i = 0; i < 4; ++i) v[i] = load(row + k + i * W);
            take(v, k / BLOCK);
        }
        settle(row, k, size);
    }

    // Looks at what was taken, and one by one at the rest from `end` on.
    void settle(const T* row, long end, long size) {
        for (long i = 0; i < W; ++i) value = std::max(value, most[i]);
        for (long i = 0; i < W && value > 0; ++i) {
            if (most[i] != value) continue;
            for (long k = BLOCK * block[i] + i; k < BLOCK * (block[i] + 1); k += W) {
                if (std::abs(row[k]) == value && (at < 0 || k < at)) at = k;
            }
        }
        for (long k = end; k < size; ++k) {
            if (std::abs(row[k]) <= value) continue;
            value = std::abs(row[k]);
            at = k;
        }
    }
};

// Orthogonal matching pursuit of one signal at a time, by a Cholesky factor L of the chosen atoms'
// Gram matrix that is applied to the correlations of *all* atoms as it grows: row i of
// P = L^-1 D_S D^T is the correlation of every atom with the i-th orthonormalised one. Row and
// column of L are then entries of P, the correlations with the residual lose y_i P_i at each
// step, and values are solved for once, at the end.
template <class T>
struct Pursuit {
    static constexpr long W = LANES<T>, BLOCK = Peak<T>::BLOCK;
    const Problem<T>& p;
    long count = 0, capacity;
    std::vector<long> atoms;
    std::vector<T> rows, c, factor, along, z, fresh;  // P, D r, L, y, values, D d

    Pursuit(const Problem<T>& problem, long capacity)
        : p(problem), capacity(capacity), atoms(capacity), rows(capacity * problem.size),
          c(problem.size), factor(capacity * capacity), along(capacity), z(capacity),
          fresh(problem.gram ? 0 : problem.size) {}

    const T* gram_row(long atom) {
        if (p.gram) return p.gram + atom * p.size;
        const T* d = p.dictionary + atom * p.dim;
        for (long k = 0; k < p.size; ++k) fresh[k] = dot(p.dictionary + k * p.dim, d, p.dim);
        return fresh.data();
    }

    Peak<T> begin(const T* start) {
        count = 0;
        std::copy(start, start + p.size, c.data());
        Peak<T> peak;
        peak.scan(c.data(), p.size);
        return peak;
    }

    bool holds(long atom) const {
        for (long i = 0; i < count; ++i) {
            if (atoms[i] == atom) return true;
        }
        return false;
    }

    // The peak once the chosen atoms, of which only rounding is left, are out of the way.
    Peak<T> peak_of_others() {
        for (long i = 0; i < count; ++i) c[atoms[i]] = 0;
        Peak<T> peak;
        peak.scan(c.data(), p.size);
        return peak;
    }

    // Adds an atom; false if it depends on the others.
    bool append(long atom, T dependent, Peak<T>& peak) {
        const T* row = gram_row(atom);
        T* l = factor.data() + count * capacity;
        T pivot = row[atom];
        for (long j = 0; j < count; ++j) {
            l[j] = rows[j * p.size + atom];
            pivot -= l[j] * l[j];
        }
        if (pivot <= dependent * row[atom]) return false;
        l[count] = std::sqrt(pivot);
        atoms[count] = atom;
        along[count] = c[atom] / l[count];
        if (count + 1 < capacity) peak = project(row, l);
        ++count;
        return true;
    }

    // rows[count] <- (row - sum_j l_j rows[j]) / l_count and c <- c - y rows[count], in one pass.
    Peak<T> project(const T* row, const T* l) {
        const T scale = 1 / l[count], y = along[count];
        T* out = rows.data() + count * p.size;
        Peak<T> peak;
        long k = 0;
        for (; k + BLOCK <= p.size; k += BLOCK) {
            V<T> v[4];
            for (int i = 0; i < 4; ++i) v[i] = load(row + k + i * W);
            for (long j = 0; j < count; ++j) {
                const T* r = rows.data() + j * p.size + k;
                const T lj = l[j];
                for (int i = 0; i < 4; ++i) v[i] -= lj * load(r + i * W);
            }
            for (int i = 0; i < 4; ++i) {
                v[i] *= scale;
                store(out + k + i * W, v[i]);
                v[i] = load(c.data() + k + i * W) - y * v[i];
                store(c.data() + k + i * W, v[i]);
            }
            peak.take(v, k / BLOCK);
        }
        const long end = k;
        for (; k < p.size; ++k) {
            T value = row[k];
            for (long j = 0; j < count; ++j) value -= l[j] * rows[j * p.size + k];
            out[k] = value * scale;
            c[k] -= y * out[k];
        }
        peak.settle(c.data(), end, p.size);
        return peak;
    }

    // z <- L^-T y
    void solve() {
        for (long i = count - 1; i >= 0; --i) {
            T value = along[i];
            for (long j = i + 1; j < count; ++j) value -= factor[j * capacity + i] * z[j];
            z[i] = value / factor[i * capacity + i];
        }
    }
};

template <class T>
void omp_one(Pursuit<T>& s, const T* x, const T* correlations, long k, T tolerance) {
    const T dependent = 16 * std::numeric_limits<T>::epsilon();
    const T norm2 = dot(x, x, s.p.dim);
    T energy = norm2;
    Peak<T> peak = s.begin(correlations);
    while (s.count < k && energy > tolerance) {
        if (s.holds(peak.at)) peak = s.peak_of_others();
        // What is left of the residual, or of the atom, is rounding.
        if (peak.at < 0 || peak.value <= dependent * std::sqrt(norm2)) break;
        if (!s.append(peak.at, dependent, peak)) break;
        energy -= s.along[s.count - 1] * s.along[s.count - 1];
    }
    s.solve();
}

// |x - z D|^2, taken from the signal itself: differences of squares would lose digits.
template <class T>
T residual_energy(const Pursuit<T>& s, const T* x, std::vector<T>& rest) {
    const long dim = s.p.dim;
    std::copy(x, x + dim, rest.data());
    for (long i = 0; i < s.count; ++i) {
        const T* d = s.p.dictionary + s.atoms[i] * dim;
        for (long j = 0; j < dim; ++j) rest[j] -= s.z[i] * d[j];
    }
    return dot(rest.data(), rest.data(), dim);
}

template <class T>
void omp(const Problem<T>& p, long k, T tolerance, int threads, int64_t* atoms, T* values,
         T* squares) {
    const Panels<T> panels(p);
#pragma omp parallel num_threads(threads)
    {
        Block<T> block(p, panels);
        Pursuit<T> s(p, k);
        std::vector<T> rest(p.dim);
        std::vector<std::pair<long, T>> kept;
#pragma omp for schedule(dynamic)
        for (long first = 0; first < p.n; first += ROWS) {
            const long count = std::min(ROWS, p.n - first);
            block.fill(first, count);
            for (long i = 0; i < count; ++i) {
                const T* x = p.signals + (first + i) * p.dim;
                omp_one(s, x, block.row(i), k, tolerance);
                kept.clear();
                for (long j = 0; j < s.count; ++j) {
                    if (s.z[j] != 0) kept.emplace_back(s.atoms[j], s.z[j]);
                }
                write(kept, atoms + (first + i) * k, values + (first + i) * k, k);
                squares[first + i] = residual_energy(s, x, rest);
            }
        }
    }
}

// The k largest of a row by magnitude, or by value where nonnegative; it is used up.
template <class T>
void select_one(T* c, long size, long k, bool nonnegative,
                std::vector<std::pair<long, T>>& kept) {
    kept.clear();
    if (nonnegative) {
        for (long i = 0; i < size; ++i) c[i] = std::max(c[i], T(0));
    }
    while (static_cast<long>(kept.size()) < k) {
        Peak<T> peak;
        peak.scan(c, size);
        if (peak.at < 0) return;
        kept.emplace_back(peak.at, c[peak.at]);
        c[peak.at] = 0;
    }
}

template <class T>
void select(const Problem<T>& p, long k, bool nonnegative, int threads, int64_t* atoms,
            T* values) {
    const Panels<T> panels(p);
#pragma omp parallel num_threads(threads)
    {
        Block<T> block(p, panels);
        std::vector<std::pair<long, T>> kept;
#pragma omp for schedule(dynamic)
        for (long first = 0; first < p.n; first += ROWS) {
            const long count = std::min(ROWS, p.n - first);
            block.fill(first, count);
            for (long i = 0; i < count; ++i) {
                select_one(block.row(i), p.size, k, nonnegative, kept);
                write(kept, atoms + (first + i) * k, values + (first + i) * k, k);
            }
        }
    }
}

}  // namespace

#define NARROWS_PURSUIT(T, SUFFIX)                                                             \
    extern "C" void omp_##SUFFIX(const T* signals, const T* dictionary, const T* gram, long n, \
                                 long dim, long size, long k, double tolerance, long threads,   \
                                 int64_t* atoms, T* values, T* squares) {                      \
        omp<T>({signals, dictionary, gram, n, dim, size}, k, static_cast<T>(tolerance),        \
               threads, atoms, values, squares);                                               \
    }                                                                                          \
    extern "C" void select_##SUFFIX(const T* signals, const T* dictionary, long n, long dim,   \
                                    long size, long k, long nonnegative, long threads,          \
                                    int64_t* atoms, T* values) {                               \
        select<T>({signals, dictionary, nullptr, n, dim, size}, k, nonnegative, threads,       \
                  atoms, values);                                                              \
    }

NARROWS_PURSUIT(float, float32)
NARROWS_PURSUIT(double, float64)
