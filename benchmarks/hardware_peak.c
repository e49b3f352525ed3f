/* Multiply-accumulates a second of a processor: loops that never leave its registers.
 *
 *   cc -O2 -pthread hardware_peak.c -o hardware_peak
 *   hardware_peak KERNEL SECONDS
 *
 * One thread a processor that this process may use, bound to it. Printed are operations a second of
 * all threads together, a multiply-accumulate being two. Every loop has more independent
 * accumulators than latency times throughput asks for, and an accumulator depends on the last round,
 * so that a compiler can leave nothing out. */

#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 20000
#define TWELVE(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define KEEP(value) __asm__ volatile("" : "+v"(value))

/* A loop of twelve accumulators of a type, to each of which STEP adds products of a and b. */
#define LOOP(NAME, TARGET, SUM, ZERO, FACTOR, A, B, STEP)                                      \
    __attribute__((target(TARGET), noinline)) static void NAME(void) {                         \
        FACTOR a = A, b = B;                                                                   \
        SUM sum[12];                                                                           \
        KEEP(a);                                                                               \
        KEEP(b);                                                                               \
        for (int i = 0; i < 12; i++) sum[i] = ZERO;                                            \
        for (int round = 0; round < ROUNDS; round++) {                                         \
            TWELVE(STEP)                                                                       \
        }                                                                                      \
        for (int i = 0; i < 12; i++) KEEP(sum[i]);                                             \
    }

#define FMA256(i) sum[i] = _mm256_fmadd_ps(a, b, sum[i]);
LOOP(fp32_fma_256, "avx2,fma", __m256, _mm256_setzero_ps(), __m256, _mm256_set1_ps(0.5f),
     _mm256_set1_ps(0.25f), FMA256)

#define FMA512(i) sum[i] = _mm512_fmadd_ps(a, b, sum[i]);
LOOP(fp32_fma_512, "avx512f", __m512, _mm512_setzero_ps(), __m512, _mm512_set1_ps(0.5f),
     _mm512_set1_ps(0.25f), FMA512)

#define DPBF16(i) sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)a, (__m512bh)b);
LOOP(bf16_dp_512, "avx512f,avx512bw,avx512bf16", __m512, _mm512_setzero_ps(), __m512i,
     _mm512_set1_epi16(0x3f00), _mm512_set1_epi16(0x3e80), DPBF16)

/* Products of bytes are added to pairs of 16 bits, those to 32 bits, those to the sum. */
#define MADD(i)                                                                                \
    KEEP(a);                                                                                   \
    sum[i] = _mm256_add_epi32(                                                                 \
        sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
LOOP(int8_maddubs_256, "avx2", __m256i, _mm256_setzero_si256(), __m256i, _mm256_set1_epi8(3),
     _mm256_set1_epi8(2), MADD)

#define DPB256(i) sum[i] = _mm256_dpbusd_avx_epi32(sum[i], a, b);
LOOP(int8_vnni_256, "avx2,avxvnni", __m256i, _mm256_setzero_si256(), __m256i,
     _mm256_set1_epi8(3), _mm256_set1_epi8(2), DPB256)

#define DPB512(i) sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
LOOP(int8_vnni_512, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_setzero_si512(), __m512i,
     _mm512_set1_epi8(3), _mm512_set1_epi8(2), DPB512)

struct tiles {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_per_row[16];
    uint8_t rows[16];
} __attribute__((packed));

/* Tiles of 16 rows of 64 bytes: four accumulators, two of each factor. */
__attribute__((target("amx-tile"), noinline)) static void load_tiles(void) {
    static uint8_t zeros[1024] __attribute__((aligned(64)));
    struct tiles shape;
    memset(&shape, 0, sizeof shape);
    shape.palette = 1;
    for (int tile = 0; tile < 8; tile++) {
        shape.bytes_per_row[tile] = 64;
        shape.rows[tile] = 16;
    }
    /* GCC 12 does not know that the next line reads all of it. */
    __asm__ volatile("" : : "r"(&shape) : "memory");
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, zeros, 64);
    _tile_loadd(5, zeros, 64);
    _tile_loadd(6, zeros, 64);
    _tile_loadd(7, zeros, 64);
}

#define TILES(NAME, TARGET, PRODUCT)                                                           \
    __attribute__((target(TARGET), noinline)) static void NAME(void) {                         \
        load_tiles();                                                                          \
        for (int round = 0; round < ROUNDS / 16; round++) {                                    \
            PRODUCT(0, 4, 6);                                                                  \
            PRODUCT(1, 4, 7);                                                                  \
            PRODUCT(2, 5, 6);                                                                  \
            PRODUCT(3, 5, 7);                                                                  \
        }                                                                                      \
        _tile_release();                                                                       \
    }
TILES(int8_amx, "amx-tile,amx-int8", _tile_dpbusd)
TILES(bf16_amx, "amx-tile,amx-bf16", _tile_dpbf16ps)

static const struct kernel {
    const char *name;
    void (*run)(void);
    double operations; /* of one call */
} kernels[] = {
    {"fp32_fma_256", fp32_fma_256, 2.0 * 8 * 12 * ROUNDS},
    {"fp32_fma_512", fp32_fma_512, 2.0 * 16 * 12 * ROUNDS},
    {"bf16_dp_512", bf16_dp_512, 2.0 * 32 * 12 * ROUNDS},
    {"bf16_amx", bf16_amx, 2.0 * 16 * 16 * 32 * 4 * (ROUNDS / 16)},
    {"int8_maddubs_256", int8_maddubs_256, 2.0 * 32 * 12 * ROUNDS},
    {"int8_vnni_256", int8_vnni_256, 2.0 * 32 * 12 * ROUNDS},
    {"int8_vnni_512", int8_vnni_512, 2.0 * 64 * 12 * ROUNDS},
    {"int8_amx", int8_amx, 2.0 * 16 * 16 * 64 * 4 * (ROUNDS / 16)},
};

static const struct kernel *kernel;
static double seconds;
static pthread_barrier_t together;

struct worker {
    int processor;
    double begin, end, operations;
};

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + 1e-9 * at.tv_nsec;
}

static void *work(void *given) {
    struct worker *own = given;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(own->processor, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    for (double until = now() + 0.05; now() < until;) kernel->run();
    pthread_barrier_wait(&together);
    own->begin = now();
    do {
        kernel->run();
        own->operations += kernel->operations;
        own->end = now();
    } while (own->end - own->begin < seconds);
    return NULL;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (!strcmp(words[1], kernels[i].name)) kernel = &kernels[i];
    seconds = atof(words[2]);
    if (!kernel || seconds <= 0) return 2;
    /* ARCH_REQ_XCOMP_PERM of the data of tiles (Linux, arch/x86/xstate.rst). */
    if (strstr(kernel->name, "amx") && syscall(SYS_arch_prctl, 0x1023, 18)) return 3;
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    int threads = CPU_COUNT(&allowed), used = 0;
    struct worker workers[CPU_SETSIZE] = {0};
    pthread_t running[CPU_SETSIZE];
    pthread_barrier_init(&together, NULL, threads);
    for (int processor = 0; processor < CPU_SETSIZE && used < threads; processor++) {
        if (!CPU_ISSET(processor, &allowed)) continue;
        workers[used].processor = processor;
        pthread_create(&running[used], NULL, work, &workers[used]);
        used++;
    }
    double begin = 1e300, end = 0, operations = 0;
    for (int i = 0; i < used; i++) {
        pthread_join(running[i], NULL);
        operations += workers[i].operations;
        if (workers[i].begin < begin) begin = workers[i].begin;
        if (workers[i].end > end) end = workers[i].end;
    }
    printf("%.6e\n", operations / (end - begin));
    return 0;
}
