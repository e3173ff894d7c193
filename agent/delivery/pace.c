/* agent/delivery/pace.c: see pace.h. */
#include "agent/delivery/pace.h"

#include "agent/base/clock.h"
#include "agent/delivery/retry.h"

static const int64_t clean_ns = 30 * NS_PER_S;  /* without overload before one sender more */
static const int64_t timeout_ns = 1 * NS_PER_S; /* no answer after so long is overload, sooner it is absence */

/* Parts of a bucket: requests wait until half of it is there, and then go on until an eighth is left. */
static const double worth_while = 1.0 / 2, used_up = 1.0 / 8;

void pace_init(struct pace *pace, const struct pace_options *options, int64_t now_ns) {
    *pace = (struct pace){
        .most = options->senders,
        .limit = options->senders,
        .divisor = options->divisor > 0 ? options->divisor : 1,
    };
    limiter_init(&pace->limiter, options->senders);
    bucket_init(&pace->points, options->points_per_s, now_ns);
    bucket_init(&pace->bytes, options->bytes_per_s, now_ns);
}

unsigned pace_slots(const struct pace *pace) {
    unsigned slots = limiter_slots(&pace->limiter);

    return slots < pace->limit ? slots : pace->limit;
}

static struct pace_wait wait_for_answer(const struct pace *pace, unsigned slots) {
    enum pace_reason reason = slots == pace->most    ? PACE_BUSY
                              : slots == pace->limit ? PACE_BACKOFF
                                                     : PACE_LATENCY;

    return (struct pace_wait){ reason, INT64_MAX };
}

int64_t pace_rests_until_ns(const struct pace *pace) {
    return pace->limiter.limit < 1 ? pace->rest_until_ns : 0;
}

struct pace_wait pace_ready(struct pace *pace, const struct pace_request *request, bool hurry, int64_t now_ns) {
    unsigned slots = hurry ? pace->limit : pace_slots(pace);
    int64_t points_ns, bytes_ns;

    if (pace->paused_until_ns > now_ns)
        return (struct pace_wait){ PACE_BACKOFF, pace->paused_until_ns };
    if (pace->in_flight >= slots)
        return wait_for_answer(pace, slots);
    if (request->backlog && !hurry && pace_rests_until_ns(pace) > now_ns)
        return (struct pace_wait){ PACE_LATENCY, pace->rest_until_ns };
    points_ns = bucket_ready_ns(&pace->points, request->lines, now_ns);
    bytes_ns = bucket_ready_ns(&pace->bytes, (double)request->bytes, now_ns);
    if (points_ns > now_ns || bytes_ns > now_ns)
        return (struct pace_wait){ PACE_RATE, points_ns > bytes_ns ? points_ns : bytes_ns };
    return (struct pace_wait){ PACE_FREE, now_ns };
}

void pace_begin(struct pace *pace, const struct pace_request *request) {
    pace->in_flight++;
    pace_pay(pace, request->lines, request->bytes);
}

static bool is_overload(const struct reply *reply) {
    return reply->status == 429 || reply->status == 503 || (reply->status == 0 && reply->duration_ns >= timeout_ns);
}

static struct pace_news note_failure(struct pace *pace, const struct reply *reply, int64_t began_ns, int64_t longest_pause_ns,
                                     uint64_t random, int64_t now_ns) {
    bool slow = reply->retry == RETRY_SLOWLY, same_round = pace->failures > 0 && began_ns < pace->pause_set_ns;
    int64_t pause;

    if (pace->down_since_ns == 0)
        pace->down_since_ns = now_ns;
    if (is_overload(reply)) {
        pace->clean_since_ns = now_ns;
        if (pace->limit > 1)
            pace->limit--;
    }
    if (pace->slow != slow && !same_round)
        pace->failures = 0;
    if (!same_round) {
        pace->slow = slow;
        pace->failures++;
        pace->pause_set_ns = now_ns;
    }
    pause = retry_delay_ns(reply->retry, pace->failures, reply->retry_after_ns, random);
    if (pause > longest_pause_ns && reply->retry_after_ns == 0)
        pause = longest_pause_ns;
    pause /= pace->divisor;
    if (!same_round || reply->retry_after_ns > 0)
        if (pace->paused_until_ns < now_ns + pause)
            pace->paused_until_ns = now_ns + pause;
    return (struct pace_news){ .failures = pace->failures, .pause_ns = pace->paused_until_ns - now_ns };
}

/* The server did the work: how long that took says something about it. */
static void note_latency(struct pace *pace, const struct pace_request *request, const struct reply *reply, int64_t began_ns,
                         int64_t now_ns, struct pace_news *news) {
    struct limiter *limiter = &pace->limiter;

    limiter_answer(limiter, began_ns, reply->duration_ns, request->body_bytes);
    if (request->backlog)
        pace->rest_until_ns = now_ns + limiter_rest_ns(limiter, reply->duration_ns);
    if (!pace->crawling && limiter->limit < 1) {
        pace->crawling = news->crawls = true;
        news->latency_ns = limiter->duration_ns;
        news->usual_ns = limiter->usual_ns;
    } else if (pace->crawling && limiter->limit >= limiter->most) {
        pace->crawling = false;
        news->walks = true;
    }
}

static struct pace_news note_success(struct pace *pace, const struct pace_request *request, const struct reply *reply,
                                     int64_t began_ns, int64_t now_ns) {
    struct pace_news news = { .was_down_ns = pace->down_since_ns != 0 ? now_ns - pace->down_since_ns + 1 : 0 };

    pace->down_since_ns = 0;
    pace->failures = 0;
    if (pace->limit < pace->most && now_ns - pace->clean_since_ns >= clean_ns) {
        pace->limit++;
        pace->clean_since_ns = now_ns;
    }
    if (reply->outcome == DELIVERED || reply->outcome == PARTIAL)
        note_latency(pace, request, reply, began_ns, now_ns, &news);
    return news;
}

struct pace_news pace_end(struct pace *pace, const struct pace_request *request, const struct reply *reply, int64_t began_ns,
                          bool data_to_blame, int64_t longest_pause_ns, uint64_t random, int64_t now_ns) {
    pace->in_flight--;
    if (reply->outcome != RETRY_LATER)
        return note_success(pace, request, reply, began_ns, now_ns);
    if (data_to_blame)
        return (struct pace_news){ 0 };
    return note_failure(pace, reply, began_ns, longest_pause_ns, random, now_ns);
}

bool pace_is_limited(const struct pace *pace) {
    return pace->points.rate > 0 || pace->bytes.rate > 0;
}

static bool is_used_up(struct bucket *bucket, int64_t now_ns) {
    double least = bucket->capacity * used_up;

    return bucket_level(bucket, now_ns) < (least > 1 ? least : 1);
}

static double floor_at(double tokens, double most) {
    return tokens < 1 ? 1 : tokens < most ? tokens : most;
}

int64_t pace_grant(struct pace *pace, struct pace_grant *grant, int64_t now_ns) {
    int64_t points_ns = bucket_ready_ns(&pace->points, pace->points.capacity * worth_while, now_ns);
    int64_t bytes_ns = bucket_ready_ns(&pace->bytes, pace->bytes.capacity * worth_while, now_ns);
    int64_t ready_ns = points_ns > bytes_ns ? points_ns : bytes_ns;

    if (ready_ns <= now_ns)
        pace->open = true;
    else if (is_used_up(&pace->points, now_ns) || is_used_up(&pace->bytes, now_ns))
        pace->open = false;
    if (!pace->open)
        return ready_ns;
    grant->lines = (uint32_t)floor_at(bucket_level(&pace->points, now_ns), UINT32_MAX);
    grant->bytes = (uint64_t)floor_at(bucket_level(&pace->bytes, now_ns), (double)(1ULL << 62));
    return now_ns;
}

void pace_pay(struct pace *pace, uint64_t lines, uint64_t bytes) {
    bucket_pay(&pace->points, (double)lines);
    bucket_pay(&pace->bytes, (double)bytes);
}

struct pace_grant pace_largest(const struct pace *pace) {
    struct pace_grant largest = { UINT32_MAX, UINT64_MAX };

    if (pace->points.rate > 0 && pace->points.capacity < UINT32_MAX)
        largest.lines = (uint32_t)pace->points.capacity;
    if (pace->bytes.rate > 0 && pace->bytes.capacity < (double)(1ULL << 62))
        largest.bytes = (uint64_t)pace->bytes.capacity;
    return largest;
}
