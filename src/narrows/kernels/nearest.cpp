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
//
// Where the processor multiplies 16-bit integers in pairs (VNNI) float32 takes a first look at
// rounded rows and codes in half the time; how far off that may be is known for each row, and
// what it leaves open is compared by the differences, too.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __AVX512VNNI__
#include <immintrin.h>
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
    double longest = 0.0;  // norm of a code about the middle
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
            longest = std::max(longest, (1.0 + 1e-5) * std::sqrt(norm));
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
    // sums, (dim + 8) u (|x| |c| + |c|^2 / 2) each, where |c| <= |x| + |x - c| and no code is
    // longer than the longest.
    double doubt(double norm2, double top, double offset) const {
        const double x = std::sqrt(norm2), c = std::sqrt(-2 * offset);
        const double reach = 1.2 * x + 0.2 * c + std::sqrt(std::max(norm2 - 2 * top, 0.0));
        return rounding(x, std::min(reach, longest));
    }

    // No less than `doubt`, for any code.
    double most_doubt(double norm2) const { return rounding(std::sqrt(norm2), longest); }

    double rounding(double x, double c) const { return 2.1 * gamma * (x * c + c * c / 2) + least; }

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

// The scores of a tile of rows and a panel, folded into the best of each row and lane.
template <typename T>
inline void fold(const typename Types<T>::Vector (&sum)[TALL][VECTORS], int64_t first,
                 typename Types<T>::Vector* __restrict best,
                 typename Types<T>::Vector* __restrict second,
                 typename Types<T>::Lanes* __restrict where) {
    using Vector = typename Types<T>::Vector;
    using Lanes = typename Types<T>::Lanes;
    constexpr int LANES = BYTES / sizeof(T);
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

// One tile of rows [dim][TALL] times one panel.
template <typename T>
inline void tile_times_panel(const T* __restrict tile, const T* __restrict panel,
                             const T* __restrict offset, int64_t dim, int64_t first,
                             typename Types<T>::Vector* __restrict best,
                             typename Types<T>::Vector* __restrict second,
                             typename Types<T>::Lanes* __restrict where) {
    using Vector = typename Types<T>::Vector;
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
    fold<T>(sum, first, best, second, where);
}

// The codes whose score for one row is the largest, as far as rounding can tell; none if scores
// overflow.
template <typename T>
void candidates(const Codes<T>& book, const T* row, std::vector<int64_t>& among) {
    using Vector = typename Types<T>::Vector;
    constexpr int LANES = BYTES / sizeof(T);
    const int64_t padded = round_up(book.size, Codes<T>::WIDE);
    const auto scores = allocate<T>(padded), column = allocate<T>(book.dim);
    T norm2 = 0;
    for (int64_t d = 0; d < book.dim; ++d) {
        column[d] = (row[d] - book.middle[d]) * book.scale;
        norm2 += column[d] * column[d];
    }
    int64_t found = 0;
    for (int64_t k = 0; k < padded; k += Codes<T>::WIDE) {
        const T* panel = book.panels.get() + k * book.dim;
        Vector sum[VECTORS];
        for (int v = 0; v < VECTORS; ++v)
            sum[v] = *reinterpret_cast<const Vector*>(book.offsets.get() + k + v * LANES);
        for (int64_t d = 0; d < book.dim; ++d)
            for (int v = 0; v < VECTORS; ++v)
                sum[v] += column[d] *
                          *reinterpret_cast<const Vector*>(panel + (d * VECTORS + v) * LANES);
        for (int v = 0; v < VECTORS; ++v)
            *reinterpret_cast<Vector*>(scores.get() + k + v * LANES) = sum[v];
        for (int64_t i = k; i < k + Codes<T>::WIDE; ++i)
            if (scores[i] > scores[found]) found = i;
    }
    among.clear();
    const double bar = scores[found] - book.doubt(norm2, scores[found], book.offsets[found]);
    if (!std::isfinite(bar)) return;
    for (int64_t k = 0; k < book.size; ++k)
        if (scores[k] >= bar) among.push_back(k);
}

// Codes and rows as 16-bit integers; a dot product of theirs fits 32 bits: |x| |c| < 2^31.
#ifdef __AVX512VNNI__
constexpr bool ROUGH = true;
#else
constexpr bool ROUGH = false;
#endif
constexpr float LONGEST = 45000.0f, LARGEST = 32767.0f;
constexpr int64_t NARROW = 8;  // below this width folding the scores takes longer than they do

// By which a vector of this norm and largest entry is multiplied before it is rounded.
inline float rough_scale(float norm, float largest) {
    const float scale = largest > 0 ? std::min(LONGEST / norm, LARGEST / largest) : 1.0f;
    return std::min(std::max(scale, 1e-30f), 1e30f);
}

// Rounds a scaled vector; returns how far it then is from the vector.
inline double round_to_short(const float* __restrict vector, int64_t dim, float scale,
                             int32_t* __restrict rounded) {
    const float unit = 1.0f / scale;
    float off = 0.0f;
#pragma omp simd reduction(+ : off)
    for (int64_t d = 0; d < dim; ++d) {
        const float value = vector[d] * scale;
        const int32_t whole = static_cast<int32_t>(value + (value < 0 ? -0.5f : 0.5f));
        rounded[d] = whole;
        const float difference = vector[d] - static_cast<float>(whole) * unit;
        off += difference * difference;
    }
    return 1.001 * std::sqrt(double(off)) + 1e-18;
}

// Two dimensions to a number, each into its own row of what is `wide` numbers wide.
inline void put_pairs(const int32_t* rounded, int64_t pairs, int64_t wide, int32_t* out) {
    for (int64_t p = 0; p < pairs; ++p)
        out[p * wide] = (rounded[2 * p] & 0xffff) | static_cast<int32_t>(
            static_cast<uint32_t>(rounded[2 * p + 1]) << 16);
}

struct RoughCodes {
    static constexpr int64_t WIDE = Codes<float>::WIDE;
    int64_t pairs;  // of dimensions
    float scale = 1.0f;
    double off = 0.0;  // largest error of a code
    std::unique_ptr<int32_t[], Free> panels;  // [panel][pairs][WIDE]

    explicit RoughCodes(const Codes<float>& book)
        : pairs((book.dim + 1) / 2),
          panels(allocate<int32_t>(round_up(book.size, WIDE) * pairs)) {
        const int64_t dim = book.dim, padded = round_up(book.size, WIDE);
        float largest = 0.0f;
        for (int64_t i = 0; i < padded * dim; ++i)
            largest = std::max(largest, std::abs(book.panels[i]));
        scale = rough_scale(book.longest, largest);
        std::vector<float> code(dim);
        std::vector<int32_t> rounded(2 * pairs, 0);
        for (int64_t k = 0; k < padded; ++k) {
            const bool counts = std::isfinite(book.offsets[k]);
            const float* column = book.panels.get() + k / WIDE * WIDE * dim + k % WIDE;
            for (int64_t d = 0; d < dim; ++d) code[d] = counts ? column[d * WIDE] : 0.0f;
            off = std::max(off, round_to_short(code.data(), dim, scale, rounded.data()));
            put_pairs(rounded.data(), pairs, WIDE,
                      panels.get() + k / WIDE * WIDE * pairs + k % WIDE);
        }
    }
};

#ifdef __AVX512VNNI__
// One tile of rounded rows [pairs][TALL] times one panel; `unit` undoes the scales of each row.
inline void rough_tile_times_panel(const int32_t* __restrict tile, const int32_t* __restrict panel,
                                   const float* __restrict offset, const float* __restrict unit,
                                   int64_t pairs, int64_t first, Types<float>::Vector* best,
                                   Types<float>::Vector* second, Types<float>::Lanes* where) {
    using Vector = Types<float>::Vector;
    using Lanes = Types<float>::Lanes;  // not __m512i: the sums must stay in registers
    Lanes sum[TALL][VECTORS] = {};
    for (int64_t p = 0; p < pairs; ++p) {
        Lanes code[VECTORS];
        for (int v = 0; v < VECTORS; ++v)
            code[v] = *reinterpret_cast<const Lanes*>(panel + (p * VECTORS + v) * 16);
        for (int r = 0; r < TALL; ++r) {
            const Lanes row = Lanes{} + tile[p * TALL + r];
            for (int v = 0; v < VECTORS; ++v)
                sum[r][v] = (Lanes)_mm512_dpwssd_epi32((__m512i)sum[r][v], (__m512i)row,
                                                       (__m512i)code[v]);
        }
    }
    Vector score[TALL][VECTORS];
    for (int r = 0; r < TALL; ++r)
        for (int v = 0; v < VECTORS; ++v)
            score[r][v] = __builtin_convertvector(sum[r][v], Vector) * unit[r] +
                          *reinterpret_cast<const Vector*>(offset + v * 16);
    fold<float>(score, first, best, second, where);
}
#else
inline void rough_tile_times_panel(const int32_t*, const int32_t*, const float*, const float*,
                                   int64_t, int64_t, Types<float>::Vector*,
                                   Types<float>::Vector*, Types<float>::Lanes*) {}
#endif

// What a thread works in: a block of rows in tiles, and what is known of each.
template <typename T>
struct Block {
    using Vector = typename Types<T>::Vector;
    using Lanes = typename Types<T>::Lanes;
    const Codes<T>& book;
    const RoughCodes* rough;  // null where rows are compared in full from the start
    std::unique_ptr<T[], Free> packed, norms;
    std::unique_ptr<Vector[], Free> best, second;
    std::unique_ptr<Lanes[], Free> where;
    std::unique_ptr<int32_t[], Free> rounded;
    std::vector<float> units;    // of each row's rough scores
    std::vector<double> slack;   // by how much two of them may be off
    std::vector<int64_t> among, every;  // codes to compare, and all of them

    Block(const Codes<T>& book, const RoughCodes* rough, int64_t rows)
        : book(book), rough(rough), packed(allocate<T>(rows * book.dim)), norms(allocate<T>(rows)),
          best(allocate<Vector>(rows)), second(allocate<Vector>(rows)),
          where(allocate<Lanes>(rows)),
          rounded(allocate<int32_t>(rough ? rows * rough->pairs : 0)), units(rough ? rows : 0),
          slack(rows, 0.0), every(book.size) {
        std::iota(every.begin(), every.end(), 0);
    }

    // Indices of `count` rows; returns how many of them are not finite.
    int64_t search(const T* rows, int64_t count, int64_t* index) {
        if constexpr (ROUGH && sizeof(T) == 4)
            if (rough) {
                look(rows, count);
                const int64_t bad = settle_all(rows, count, index, count / 16);
                if (bad >= 0) return bad;
                rough = nullptr;  // these codes lie too close for a rough look
                std::fill(slack.begin(), slack.end(), 0.0);
            }
        const int64_t dim = book.dim;
        pack(rows, count);
        for (int64_t k = 0; k < book.size; k += Codes<T>::WIDE)
            for (int64_t i = 0; i < round_up(count, TALL); i += TALL)
                tile_times_panel<T>(packed.get() + i * dim, book.panels.get() + k * dim,
                                    book.offsets.get() + k, dim, k, best.get() + i,
                                    second.get() + i, where.get() + i);
        return settle_all(rows, count, index, count);
    }

    // How many rows are not finite; -1 as soon as more than `most` need all codes compared again.
    int64_t settle_all(const T* rows, int64_t count, int64_t* index, int64_t most) {
        int64_t bad = 0;
        for (int64_t i = 0; i < count; ++i) {
            const Verdict verdict = settle(rows + i * book.dim, i, index[i], most > 0);
            if (verdict == Verdict::crowded && most-- <= 0) return -1;
            bad += verdict == Verdict::bad;
        }
        return bad;
    }

    void clear(int64_t i) {
        best[i] = second[i] = Vector{} - std::numeric_limits<T>::infinity();
        where[i] = Lanes{} - 1;
    }

    void look(const T* rows, int64_t count) {
        const int64_t dim = book.dim, pairs = rough->pairs;
        std::vector<float> row(dim);
        std::vector<int32_t> whole(2 * pairs, 0);
        for (int64_t i = 0; i < round_up(count, TALL); ++i) {
            clear(i);
            float norm2 = 0.0f, largest = 0.0f;
            const float* given = rows + std::min(i, count - 1) * dim;
            float* shifted = row.data();
#pragma omp simd reduction(+ : norm2) reduction(max : largest)
            for (int64_t d = 0; d < dim; ++d) {
                const float value = (given[d] - book.middle[d]) * book.scale;
                shifted[d] = value;
                norm2 += value * value;
                largest = std::max(largest, std::abs(value));
            }
            norms[i] = norm2;
            int32_t* column = rounded.get() + i / TALL * TALL * pairs + i % TALL;
            if (!std::isfinite(norm2)) {  // to be compared in full
                units[i] = 0.0f;
                for (int64_t p = 0; p < pairs; ++p) column[p * TALL] = 0;
                continue;
            }
            const double norm = std::sqrt(double(norm2));
            const float scale = rough_scale(norm, largest);
            const double off = round_to_short(row.data(), dim, scale, whole.data());
            units[i] = 1.0f / scale / rough->scale;
            slack[i] = 2.05 * (off * book.longest + (norm + off) * rough->off);
            put_pairs(whole.data(), pairs, TALL, column);
        }
        for (int64_t k = 0; k < book.size; k += Codes<T>::WIDE)
            for (int64_t i = 0; i < round_up(count, TALL); i += TALL)
                rough_tile_times_panel(rounded.get() + i * pairs, rough->panels.get() + k * pairs,
                                       book.offsets.get() + k, units.data() + i, pairs, k,
                                       best.get() + i, second.get() + i, where.get() + i);
    }

    void pack(const T* rows, int64_t count) {
        const int64_t dim = book.dim, padded = round_up(count, TALL);
        for (int64_t i = 0; i < padded; ++i) {
            T* column = packed.get() + i / TALL * TALL * dim + i % TALL;
            for (int64_t d = 0; d < dim; ++d)
                column[d * TALL] =
                    i < count ? (rows[i * dim + d] - book.middle[d]) * book.scale : T(0);
            clear(i);
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

    enum class Verdict { sure, crowded, bad };

    // The index of one row from what its lanes hold: sure, or after a comparison with all codes
    // (crowded, done only if that is allowed); bad if the row is not finite.
    Verdict settle(const T* row, int64_t i, int64_t& found, bool allowed) {
        constexpr int LANES = BYTES / sizeof(T);
        T top = -std::numeric_limits<T>::infinity(), next = top;
        found = -1;
        for (int lane = 0; lane < LANES; ++lane) {
            const T score = best[i][lane], loser = second[i][lane];
            next = std::max(next, std::max(std::min(score, top), loser));
            if (score > top) top = score, found = where[i][lane];
        }
        const double offset = found < 0 ? 0 : book.offsets[found];
        if (next < top - book.most_doubt(norms[i]) - slack[i]) return Verdict::sure;
        const double bar = top - book.doubt(norms[i], top, offset) - slack[i];
        among.clear();
        Verdict verdict = found >= 0 && std::isfinite(bar) ? Verdict::sure : Verdict::crowded;
        for (int lane = 0; lane < LANES && verdict == Verdict::sure; ++lane) {
            if (best[i][lane] >= bar) among.push_back(where[i][lane]);
            if (second[i][lane] >= bar) verdict = Verdict::crowded;
        }
        std::sort(among.begin(), among.end());
        if (verdict == Verdict::crowded) {
            for (int64_t d = 0; d < book.dim; ++d)
                if (!std::isfinite(row[d])) return Verdict::bad;
            if (!allowed) return verdict;
            candidates(book, row, among);
            if (among.empty()) among = every;  // scores that overflow say nothing
        }
        found = book.direct(row, among);
        return verdict;
    }
};

// 0, or -1 if a code is not finite, or else the number of rows that are not.
template <typename T>
int64_t nearest(const T* rows, const T* codes, int64_t count, int64_t size, int64_t dim,
                int threads, int64_t* index) {
    const Codes<T> book(codes, size, dim);
    if (!book.finite) return -1;
    std::unique_ptr<RoughCodes> rough;
    if constexpr (ROUGH && sizeof(T) == 4)
        if (dim >= NARROW) rough = std::make_unique<RoughCodes>(book);
    int64_t block = BLOCK_BYTES / int64_t(sizeof(T) * dim);
    const int64_t share = (count + threads - 1) / threads;  // at least a block for each thread
    block = round_up(std::max<int64_t>(std::min({block, MOST_ROWS, share}), 1), TALL);
    int64_t bad = 0;
#pragma omp parallel num_threads(threads) reduction(+ : bad)
    {
        Block<T> work(book, rough.get(), block);
#pragma omp for schedule(dynamic)
        for (int64_t start = 0; start < count; start += block) {
            const int64_t rest = std::min(block, count - start);
            bad += work.search(rows + start * dim, rest, index + start);
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
