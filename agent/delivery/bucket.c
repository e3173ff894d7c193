/* agent/delivery/bucket.c: see bucket.h. */
#include "agent/delivery/bucket.h"

#include <float.h>

#include "agent/base/clock.h"

void bucket_init(struct bucket *bucket, double rate, int64_t now_ns) {
    double capacity = rate > 1 ? rate : 1;

    *bucket = (struct bucket){ .rate = rate, .capacity = capacity, .tokens = capacity, .filled_ns = now_ns };
}

double bucket_level(struct bucket *bucket, int64_t now_ns) {
    if (bucket->rate <= 0)
        return DBL_MAX;
    if (now_ns > bucket->filled_ns) {
        bucket->tokens += bucket->rate * (double)(now_ns - bucket->filled_ns) / (double)NS_PER_S;
        if (bucket->tokens > bucket->capacity)
            bucket->tokens = bucket->capacity;
        bucket->filled_ns = now_ns;
    }
    return bucket->tokens;
}

int64_t bucket_ready_ns(struct bucket *bucket, double amount, int64_t now_ns) {
    const double rounding = 1e-6; /* so that whoever waits as told is not sent away for a billionth of a token */
    const double longest_s = 1e9;
    double missing, seconds;

    if (bucket->rate <= 0)
        return now_ns;
    missing = (amount < bucket->capacity ? amount : bucket->capacity) - bucket_level(bucket, now_ns);
    if (missing <= rounding)
        return now_ns;
    seconds = missing / bucket->rate;
    return now_ns + 1 + (int64_t)((seconds < longest_s ? seconds : longest_s) * (double)NS_PER_S);
}

void bucket_pay(struct bucket *bucket, double amount) {
    if (bucket->rate > 0)
        bucket->tokens -= amount;
}
