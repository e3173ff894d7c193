/*
 * agent/delivery/bucket.h: a token bucket: so many tokens a second, and up to one second's worth at once. In any time T at
 * most rate * (T + 1 s) tokens are spent, and one piece that is larger than the whole bucket. Pure: monotonic time comes in.
 */
#ifndef HELIOGRAF_DELIVERY_BUCKET_H
#define HELIOGRAF_DELIVERY_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    double rate;     /* tokens per second; 0: no limit, and nothing is ever counted */
    double capacity; /* one second's worth, but at least one token */
    double tokens;   /* below zero after a piece that was larger than the bucket */
    int64_t filled_ns;
};

/* Full. */
void bucket_init(struct bucket *bucket, double rate, int64_t now_ns);

/* When `amount` tokens, or a full bucket for a larger amount, are there: `now_ns` or later. */
int64_t bucket_ready_ns(struct bucket *bucket, double amount, int64_t now_ns);

/* What is there now; DBL_MAX without a limit. */
double bucket_level(struct bucket *bucket, int64_t now_ns);

void bucket_pay(struct bucket *bucket, double amount);

#endif
