// The nearest code of each row: matrix product and argmax in one, so that the N x K scores live
// in registers only.
//
// score[i][k] = (x_i - m) . (c_k - m) - |c_k - m|^2 / 2, m the mean of the codes, is largest where
// |x_i - c_k| is smallest. What rounding can have put in the wrong order is compared again by the
// differences x_i - c_k themselves, in double precision. Codes are packed into panels of WIDE codes, dimension by dimension, and
// rows into tiles of TALL; a tile times a panel is held in TALL x WIDE accumulators. Each lane
// remembers its two best scores and the index of the best; lanes are compared once, at the end of
// a row.
// A panel stays in the first-level cache while all tiles of a block of rows pass it.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

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

// The codes about their middle m, times a power of two that brings them to order 1, so that no
// square overflows or vanishes.
template <typename T>
struct Codes {
    static constexpr int64_t WIDE = VECTORS * BYTES / sizeof(T);
    const T* codes;
    int64_t size, dim;
    T scale;
    double gamma, least;  // relative and absolute rounding of a score
    double peak = 0.0;  // largest magnitude of an entry, before m is taken off
    bool finite = true;
    std::unique_ptr<T[], Free> middle, panels, offsets;  // panels [panel][dim][WIDE], -|c|^2 / 2

    Codes(const T* given, int64_t size, int64_t dim)
        : codes(given), size(size), dim(dim), middle(allocate<T>(dim)),
          panels(allocate<T>(round_up(size, WIDE) * dim)),
          offsets(allocate<T>(round_up(size, WIDE))) {
        gamma = 0.5 * std::numeric_limits<T>::epsilon() * (dim + 8);
        least = 4.0 * dim * std::numeric_limits<T>::min();
        T largest = 0, nothing = 0;
#pragma omp simd reduction(max : largest) reduction(+ : nothing)
        for (int64_t i = 0; i < size * dim; ++i) {
            largest = std::max(largest, std::abs(codes[i]));
            nothing += codes[i] - codes[i];
        }
        finite = nothing == 0;
        peak = largest;
        if (finite) pack(find_middle());
    }

    // The mean, or the mean of most codes where some lie far out: about it numbers are small. Sets
    // the middle, and returns the largest distance of a code that it is the mean of.
    double find_middle() {
        const double unit = std::ldexp(1.0, -exponent(peak));
        std::vector<double> mean(dim), norm(size, 0.0);
        double bound = std::numeric_limits<double>::infinity(), farthest = 0.0;
        for (int pass = 0; pass < 3; ++pass) {
            int64_t count = 0;
            for (int64_t k = 0; k < size; ++k) count += norm[k] <= bound;
            std::fill(mean.begin(), mean.end(), 0.0);
            for (int64_t k = 0; k < size; ++k) {
                if (norm[k] > bound) continue;
                for (int64_t d = 0; d < dim; ++d) mean[d] += codes[k * dim + d] * unit;
            }
            for (int64_t d = 0; d < dim; ++d) mean[d] /= count;
            double total = 0.0;
            std::vector<double> about(size, 0.0);
            farthest = 0.0;
            for (int64_t k = 0; k < size; ++k) {
                double sum = 0.0;
#pragma omp simd reduction(+ : sum)
                for (int64_t d = 0; d < dim; ++d) {
                    const double value = codes[k * dim + d] * unit - mean[d];
                    sum += value * value;
                }
                about[k] = std::sqrt(sum);
                if (norm[k] > bound) continue;
                total += about[k];
                farthest = std::max(farthest, about[k]);
            }
            if (farthest * count <= 8 * total) break;
            bound = 4 * total / count;
            norm = about;
        }
        for (int64_t d = 0; d < dim; ++d) middle[d] = static_cast<T>(mean[d] / unit);
        return farthest / unit;
    }

    void pack(double farthest) {
        scale = static_cast<T>(std::ldexp(1.0, -exponent(farthest)));
        for (int64_t k = 0; k < round_up(size, WIDE); ++k) {
            T* column = panels.get() + k / WIDE * WIDE * dim + k % WIDE;
            double norm = 0.0;
            for (int64_t d = 0; d < dim; ++d) {
                const T value = k < size ? (codes[k * dim + d] - middle[d]) * scale : T(0);
                column[d * WIDE] = value;
                norm += double(value) * value;
            }
            // Padding loses to every code, and so does a code too far out for its square.
            offsets[k] = k < size ? T(-0.5 * norm) : -std::numeric_limits<T>::infinity();
        }
        drop_twins();
    }

    // Of equal codes only the first can be the answer; the others would make each row that is near
    // them a tie, to be settled code by code.
    void drop_twins() {
        std::vector<std::pair<uint64_t, int64_t>> order(size);
        for (int64_t k = 0; k < size; ++k) order[k] = {hash(codes + k * dim), k};
        std::sort(order.begin(), order.end());
        for (int64_t i = 1, first = 0; i < size; ++i) {
            const auto [digest, k] = order[i];
            if (digest != order[first].first) first = i;
            else if (std::equal(codes + k * dim, codes + (k + 1) * dim,
                                codes + order[first].second * dim))
                offsets[k] = -std::numeric_limits<T>::infinity();
        }
    }

    uint64_t hash(const T* code) const {
        uint64_t digest = 14695981039346656037u;
        for (int64_t d = 0; d < dim; ++d) {
            const T value = code[d] + T(0);  // -0 is 0
            uint64_t bits = 0;
            std::memcpy(&bits, &value, sizeof value);
            digest = (digest ^ bits) * 1099511628211u;
            digest ^= digest >> 29;
        }
        return digest;
    }

    // Such that 2^exponent is about the value, within what T can hold.
    static int exponent(double value) {
        const int most = std::numeric_limits<T>::max_exponent - 4;
        return value > 0 ? std::min(std::max(std::ilogb(value), -most), most) : 0;
    }

    // By how much two scores may differ from those of exact arithmetic, if one of them is the
    // row's best, `top`, of code `at`, and the other is as near: the rounding of dim products and
    // sums, (dim + 8) u (|x| |c| + |c|^2 / 2) each, where |c| <= |x| + |x - c|.
    double doubt(double norm2, double top, double offset) const {
        const double x = std::sqrt(norm2), c = std::sqrt(-2 * offset);
        const double reach = 1.2 * x + 0.2 * c + std::sqrt(std::max(norm2 - 2 * top, 0.0));
        return 2.1 * gamma * (x * reach + reach * reach / 2) + least;
    }

    // No less than `doubt`, without its roots.
    double most_doubt(double norm2, double top, double offset) const {
        const double reach2 = 3 * (1.5 * norm2 - 0.1 * offset + std::max(norm2 - 2 * top, 0.0));
        return 2.1 * gamma * (norm2 / 2 + reach2) + least;
    }

    // The nearest of some codes by the differences themselves; the lowest on ties.
    int64_t direct(const T* row, const std::vector<int64_t>& among) const {
        double largest = peak;
        for (int64_t d = 0; d < dim; ++d) largest = std::max(largest, std::abs(double(row[d])));
        const double unit = sizeof(T) == 4 ? 1.0 : std::ldexp(1.0, -exponent(largest));
        double least = std::numeric_limits<double>::infinity();
        int64_t found = among.front();
        for (const int64_t k : among) {
            double sum = 0.0;
            for (int64_t d = 0; d < dim; ++d) {
                const double difference = row[d] * unit - codes[k * dim + d] * unit;
                sum += difference * difference;
            }
            if (sum < least) least = sum, found = k;
        }
        return found;
    }
};

// One tile of rows [dim][TALL] times one panel, folded into the best of each row and lane.
template <typename T>
inline void tile_times_panel(const T* __restrict tile, const T* __restrict panel,
                             const T* __restrict offset, int64_t dim, int64_t first,
                             typename Types<T>::Vector* __restrict best,
                             typename Types<T>::Vector* __restrict second,
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
            const Vector loser = better ? best[r] : sum[r][v];
            second[r] = loser > second[r] ? loser : second[r];
            best[r] = better ? sum[r][v] : best[r];
            where[r] = better ? index : where[r];
        }
        index += LANES;
    }
}

// The codes whose score is at least `bar`, for one row of a tile.
template <typename T>
void candidates(const Codes<T>& book, const T* column, double bar, std::vector<int64_t>& among) {
    using Vector = typename Types<T>::Vector;
    constexpr int LANES = BYTES / sizeof(T);
    among.clear();
    for (int64_t k = 0; k < book.size; k += Codes<T>::WIDE) {
        const T* panel = book.panels.get() + k * book.dim;
        Vector sum[VECTORS];
        for (int v = 0; v < VECTORS; ++v)
            sum[v] = *reinterpret_cast<const Vector*>(book.offsets.get() + k + v * LANES);
        for (int64_t d = 0; d < book.dim; ++d)
            for (int v = 0; v < VECTORS; ++v)
                sum[v] += column[d * TALL] *
                          *reinterpret_cast<const Vector*>(panel + (d * VECTORS + v) * LANES);
        for (int64_t i = 0; i < Codes<T>::WIDE && k + i < book.size; ++i)
            if (sum[i / LANES][i % LANES] >= bar) among.push_back(k + i);
    }
}

// What a thread works in: a block of rows in tiles, and what is known of each.
template <typename T>
struct Block {
    using Vector = typename Types<T>::Vector;
    using Lanes = typename Types<T>::Lanes;
    std::unique_ptr<T[], Free> packed, norms;
    std::unique_ptr<Vector[], Free> best, second;
    std::unique_ptr<Lanes[], Free> where;
    std::vector<int64_t> among;

    Block(int64_t rows, int64_t dim)
        : packed(allocate<T>(rows * dim)), norms(allocate<T>(rows)), best(allocate<Vector>(rows)),
          second(allocate<Vector>(rows)), where(allocate<Lanes>(rows)) {}

    // Indices of `count` rows; returns how many of them are not finite.
    int64_t search(const Codes<T>& book, const T* rows, int64_t count, int64_t* index) {
        const int64_t dim = book.dim, padded = round_up(count, TALL);
        pack(book, rows, count);
        for (int64_t k = 0; k < book.size; k += Codes<T>::WIDE)
            for (int64_t i = 0; i < padded; i += TALL)
                tile_times_panel<T>(packed.get() + i * dim, book.panels.get() + k * dim,
                                    book.offsets.get() + k, dim, k, best.get() + i,
                                    second.get() + i, where.get() + i);
        int64_t bad = 0;
        for (int64_t i = 0; i < count; ++i) bad += !settle(book, rows + i * dim, i, index[i]);
        return bad;
    }

    void pack(const Codes<T>& book, const T* rows, int64_t count) {
        const int64_t dim = book.dim, padded = round_up(count, TALL);
        for (int64_t i = 0; i < padded; ++i) {
            T* column = packed.get() + i / TALL * TALL * dim + i % TALL;
            for (int64_t d = 0; d < dim; ++d)
                column[d * TALL] =
                    i < count ? (rows[i * dim + d] - book.middle[d]) * book.scale : T(0);
            best[i] = second[i] = Vector{} - std::numeric_limits<T>::infinity();
            where[i] = Lanes{} - 1;
        }
        for (int64_t i = 0; i < padded; i += TALL) {
            T sums[TALL] = {};
            for (int64_t d = 0; d < dim; ++d)
                for (int r = 0; r < TALL; ++r) {
                    const T value = packed[i * dim + d * TALL + r];
                    sums[r] += value * value;
                }
            for (int r = 0; r < TALL; ++r) norms[i + r] = sums[r];
        }
    }

    // The index of one row from what its lanes hold; false if the row is not finite.
    bool settle(const Codes<T>& book, const T* row, int64_t i, int64_t& found) {
        constexpr int LANES = BYTES / sizeof(T);
        T top = -std::numeric_limits<T>::infinity(), next = top;
        found = -1;
        for (int lane = 0; lane < LANES; ++lane) {
            const T score = best[i][lane], loser = second[i][lane];
            next = std::max(next, std::max(std::min(score, top), loser));
            if (score > top) top = score, found = where[i][lane];
        }
        const double offset = found < 0 ? 0 : book.offsets[found];
        if (next < top - book.most_doubt(norms[i], top, offset)) return true;
        const double doubt = book.doubt(norms[i], top, offset);
        if (found >= 0 && std::isfinite(top) && std::isfinite(doubt)) {
            const T* column = packed.get() + i / TALL * TALL * book.dim + i % TALL;
            candidates(book, column, top - doubt, among);
        } else {  // scores that overflow say nothing
            found = 0;
            for (int64_t d = 0; d < book.dim; ++d)
                if (!std::isfinite(row[d])) return false;
            among.resize(book.size);
            for (int64_t k = 0; k < book.size; ++k) among[k] = k;
        }
        found = book.direct(row, among);
        return true;
    }
};

// 0, or -1 if a code is not finite, or else the number of rows that are not.
template <typename T>
int64_t nearest(const T* rows, const T* codes, int64_t count, int64_t size, int64_t dim,
                int threads, int64_t* index) {
    const Codes<T> book(codes, size, dim);
    if (!book.finite) return -1;
    int64_t block = BLOCK_BYTES / int64_t(sizeof(T) * dim);
    const int64_t share = (count + threads - 1) / threads;  // at least a block for each thread
    block = round_up(std::max<int64_t>(std::min({block, MOST_ROWS, share}), 1), TALL);
    int64_t bad = 0;
#pragma omp parallel num_threads(threads) reduction(+ : bad)
    {
        Block<T> work(block, dim);
#pragma omp for schedule(dynamic)
        for (int64_t start = 0; start < count; start += block) {
            const int64_t rest = std::min(block, count - start);
            bad += work.search(book, rows + start * dim, rest, index + start);
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
