/* tests/bench/mqtt_load/histogram.c: rows double in width, each in 64 steps. */
#include "tests/bench/mqtt_load/histogram.h"

static unsigned row_of(uint64_t value) {
    return value < HISTOGRAM_STEPS ? 0 : 58 - (unsigned)__builtin_clzll(value); /* 64..127 is row 1: clz is 57 */
}

static unsigned shift_of(unsigned row) {
    return row == 0 ? 0 : row - 1;
}

void histogram_add(struct histogram *histogram, int64_t ns) {
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    unsigned row = row_of(value);

    histogram->counts[row][(value >> shift_of(row)) % HISTOGRAM_STEPS]++;
    histogram->count++;
    if (ns > histogram->max)
        histogram->max = ns;
}

/* The largest value of a cell. */
static int64_t end_of(unsigned row, unsigned step) {
    uint64_t first = row == 0 ? step : (uint64_t)(HISTOGRAM_STEPS + step) << shift_of(row);
    return (int64_t)(first + ((UINT64_C(1) << shift_of(row)) - 1));
}

int64_t histogram_at(const struct histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;

    if ((double)wanted < share * (double)histogram->count)
        wanted++;
    for (unsigned row = 0; row < HISTOGRAM_ROWS; row++)
        for (unsigned step = 0; step < HISTOGRAM_STEPS; step++) {
            seen += histogram->counts[row][step];
            if (seen >= wanted && seen > 0)
                return end_of(row, step) < histogram->max ? end_of(row, step) : histogram->max;
        }
    return histogram->max;
}
