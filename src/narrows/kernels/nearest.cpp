// The nearest code of each row: matrix product and argmax in one, so that the N x K scores live
// in registers only.
//
// score[i][k] = (x_i - m) . (c_k - m) - |c_k - m|^2 / 2, m the mean of the codes, is largest where
// |x_i - c_k| is smallest. Codes are packed into panels of WIDE codes, dimension by dimension, and
// rows into tiles of TALL; a tile times a panel is held in TALL x WIDE accumulators. Each lane
// remembers its best score and the index it had; lanes are compared once, at the end of a row.
// A panel stays in the first-level cache while all tiles of a block of rows pass it.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64, TALL = 12, VECTORS = 2;  // 24 accumulators of 32 registers
#elif defined(__AVX__)
constexpr int BYTES = 32, TALL = 6, VECTORS = 2;  // 12 of 16
#else
constexpr int BYTES = 16, TALL = 6, VECTORS = 2;  // fits 16 (SSE) and 32 (NEON)
#endif
constexpr int64_t BLOCK_BYTES = 192 * 1024;  // packed rows, in the second-level cache
constexpr int64_t MOST_ROWS = 192;

template <typename T>
struct Types;
template <>
struct Types<float> {
    typedef float Vector __attribute__((vector_size(BYTES)));
    typedef int32_t Lanes __attribute__((vector_size(BYTES)));
    typedef int32_t Int;
};
template <>
struct Types<double> {
    typedef double Vector __attribute__((vector_size(BYTES)));
    typedef int64_t Lanes __attribute__((vector_size(BYTES)));
    typedef int64_t Int;
};

struct Free {
    void operator()(void* p) const { std::free(p); }
};

template <typename T>
std::unique_ptr<T[], Free> allocate(int64_t count) {
    const size_t bytes = (count * sizeof(T) + 63) / 64 * 64 + 64;
    return std::unique_ptr<T[], Free>(static_cast<T*>(std::aligned_alloc(64, bytes)));
}

inline int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Centred codes in panels [panel][dim][WIDE] and their offsets; false if a code is not finite.
template <typename T>
bool pack_codes(const T* codes, int64_t size, int64_t dim, T* mean, T* panels, T* offsets) {
    constexpr int64_t WIDE = VECTORS * BYTES / sizeof(T);
    auto sums = allocate<double>(dim);
    for (int64_t d = 0; d < dim; ++d) sums[d] = 0.0;
    for (int64_t k = 0; k < size; ++k)
        for (int64_t d = 0; d < dim; ++d) sums[d] += codes[k * dim + d];
    for (int64_t d = 0; d < dim; ++d) mean[d] = static_cast<T>(sums[d] / size);
    bool finite = true;
    for (int64_t k = 0; k < round_up(size, WIDE); ++k) {
        T* column = panels + k / WIDE * WIDE * dim + k % WIDE;
        double norm = 0.0;
        for (int64_t d = 0; d < dim; ++d) {
            const T value = k < size ? codes[k * dim + d] - mean[d] : T(0);
            column[d * WIDE] = value;
            norm += double(value) * value;
        }
        // Padding loses to every code.
        offsets[k] = k < size ? T(-0.5 * norm) : -std::numeric_limits<T>::infinity();
        finite = finite && (k >= size || std::isfinite(offsets[k]));
    }
    return finite;
}

// One tile of rows [dim][TALL] times one panel, folded into the best of each row and lane.
template <typename T>
inline void tile_times_panel(const T* __restrict tile, const T* __restrict panel,
                             const T* __restrict offset, int64_t dim, int64_t first,
                             typename Types<T>::Vector* __restrict best,
                             typename Types<T>::Lanes* __restrict where) {
    using Vector = typename Types<T>::Vector;
    using Lanes = typename Types<T>::Lanes;
    constexpr int LANES = BYTES / sizeof(T);
    Vector sum[TALL][VECTORS];
    for (int r = 0; r < TALL; ++r)
        for (int v = 0; v < VECTORS; ++v)
            sum[r][v] = *reinterpret_cast<const Vector*>(offset + v * LANES);
    for (int64_t d = 0; d < dim; ++d) {
        Vector code[VECTORS];
        for (int v = 0; v < VECTORS; ++v)
            code[v] = *reinterpret_cast<const Vector*>(panel + (d * VECTORS + v) * LANES);
        for (int r = 0; r < TALL; ++r)
            for (int v = 0; v < VECTORS; ++v) sum[r][v] += tile[d * TALL + r] * code[v];
    }
    Lanes index;
    for (int lane = 0; lane < LANES; ++lane) index[lane] = first + lane;
    for (int v = 0; v < VECTORS; ++v) {
        for (int r = 0; r < TALL; ++r) {
            const Lanes better = sum[r][v] > best[r];  // strictly: the lowest index stays
            best[r] = better ? sum[r][v] : best[r];
            where[r] = better ? index : where[r];
        }
        index += LANES;
    }
}

// All of a block of rows; returns how many of them have no finite best score.
template <typename T>
int64_t search_block(const T* rows, int64_t count, const T* mean, const T* panels,
                     const T* offsets, int64_t size, int64_t dim, T* packed,
                     typename Types<T>::Vector* best, typename Types<T>::Lanes* where,
                     int64_t* index) {
    using Int = typename Types<T>::Int;
    constexpr int LANES = BYTES / sizeof(T);
    constexpr int64_t WIDE = VECTORS * LANES;
    const int64_t padded = round_up(count, TALL);
    for (int64_t i = 0; i < padded; ++i) {
        T* column = packed + i / TALL * TALL * dim + i % TALL;
        if (i < count)
            for (int64_t d = 0; d < dim; ++d) column[d * TALL] = rows[i * dim + d] - mean[d];
        else
            for (int64_t d = 0; d < dim; ++d) column[d * TALL] = T(0);
        best[i] = typename Types<T>::Vector{} - std::numeric_limits<T>::infinity();
        where[i] = typename Types<T>::Lanes{} - 1;
    }
    for (int64_t k = 0; k < size; k += WIDE)
        for (int64_t i = 0; i < padded; i += TALL)
            tile_times_panel<T>(packed + i * dim, panels + k * dim, offsets + k, dim, k, best + i,
                                where + i);
    int64_t bad = 0;
    for (int64_t i = 0; i < count; ++i) {
        T top = -std::numeric_limits<T>::infinity();
        Int found = -1;
        for (int lane = 0; lane < LANES; ++lane) {
            const T score = best[i][lane];
            const Int at = where[i][lane];
            if (at >= 0 && (score > top || (score == top && at < found))) top = score, found = at;
        }
        const bool fine = found >= 0 && std::isfinite(top);
        index[i] = fine ? found : 0;
        bad += !fine;
    }
    return bad;
}

// 0, or -1 if a code is not finite, or else the number of rows that are not.
template <typename T>
int64_t nearest(const T* rows, const T* codes, int64_t count, int64_t size, int64_t dim,
                int threads, int64_t* index) {
    using Vector = typename Types<T>::Vector;
    using Lanes = typename Types<T>::Lanes;
    constexpr int64_t WIDE = VECTORS * BYTES / sizeof(T);
    auto mean = allocate<T>(dim);
    auto panels = allocate<T>(round_up(size, WIDE) * dim);
    auto offsets = allocate<T>(round_up(size, WIDE));
    if (!pack_codes<T>(codes, size, dim, mean.get(), panels.get(), offsets.get())) return -1;

    int64_t block = BLOCK_BYTES / int64_t(sizeof(T) * dim);
    const int64_t share = (count + threads - 1) / threads;  // at least a block for each thread
    if (block > MOST_ROWS) block = MOST_ROWS;
    if (block > share) block = share;
    block = round_up(block < 1 ? 1 : block, TALL);
    int64_t bad = 0;
#pragma omp parallel num_threads(threads) reduction(+ : bad)
    {
        auto packed = allocate<T>(block * dim);
        auto best = allocate<Vector>(block);
        auto where = allocate<Lanes>(block);
#pragma omp for schedule(dynamic)
        for (int64_t start = 0; start < count; start += block) {
            const int64_t stop = start + block < count ? start + block : count;
            bad += search_block<T>(rows + start * dim, stop - start, mean.get(), panels.get(),
                                   offsets.get(), size, dim, packed.get(), best.get(),
                                   where.get(), index + start);
        }
    }
    return bad;
}

}  // namespace

extern "C" long nearest_float32(const float* rows, const float* codes, long count, long size,
                                long dim, long threads, int64_t* index) {
    return nearest<float>(rows, codes, count, size, dim, threads, index);
}

extern "C" long nearest_float64(const double* rows, const double* codes, long count, long size,
                                long dim, long threads, int64_t* index) {
    return nearest<double>(rows, codes, count, size, dim, threads, index);
}
