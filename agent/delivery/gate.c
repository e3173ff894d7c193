/* agent/delivery/gate.c: see gate.h. */
#include "agent/delivery/gate.h"

#include "agent/base/clock.h"
#include "agent/delivery/retry.h"

static const int64_t clean_ns = 30 * NS_PER_S;     /* without overload before one sender more */
static const int64_t timeout_ns = 1 * NS_PER_S;    /* no answer after so long is overload, sooner it is absence */
static const int64_t last_pause_ns = 1 * NS_PER_S; /* while stopping: what is left is lost, so try often */
static const int64_t ceiling_kept_ns = 300 * NS_PER_S, target_refused_ns = 300 * NS_PER_S;
enum { CEILING_LOWEST = 4096 };

bool gate_init(struct gate *gate, unsigned senders, uint64_t max_bytes, unsigned divisor) {
    pthread_condattr_t monotonic;

    *gate = (struct gate){ .most = senders,
                           .limit = senders,
                           .max_bytes = max_bytes,
                           .ceiling_bytes = max_bytes,
                           .divisor = divisor > 0 ? divisor : 1 };
    gate->random = ((uint64_t)clock_real_ns() ^ (uint64_t)(uintptr_t)gate) | 1;
    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&gate->changed, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    if (!ok)
        return false;
    if (pthread_mutex_init(&gate->lock, NULL) == 0)
        return true;
    pthread_cond_destroy(&gate->changed);
    return false;
}

void gate_release(struct gate *gate) {
    pthread_mutex_destroy(&gate->lock);
    pthread_cond_destroy(&gate->changed);
}

/* xorshift64*: spreads the retries of many agents, nothing more. */
static uint64_t next_random(struct gate *gate) {
    gate->random ^= gate->random >> 12;
    gate->random ^= gate->random << 25;
    gate->random ^= gate->random >> 27;
    return gate->random * 0x2545F4914F6CDD1DULL;
}

static bool time_is_up(const struct gate *gate, int64_t now) {
    if (atomic_load(&gate->cancel))
        return true;
    return gate->stopping && (now >= gate->deadline_ns || gate->paused_until_ns >= gate->deadline_ns);
}

static void wait_until(struct gate *gate, int64_t until_ns) {
    struct timespec until = clock_timespec(until_ns);

    pthread_cond_timedwait(&gate->changed, &gate->lock, &until);
}

bool gate_enter(struct gate *gate) {
    bool entered = false;

    pthread_mutex_lock(&gate->lock);
    for (;;) {
        int64_t now = clock_mono_ns();
        if (time_is_up(gate, now))
            break;
        if (gate->paused_until_ns > now) {
            wait_until(gate, gate->paused_until_ns);
        } else if (gate->in_flight >= gate->limit) {
            if (gate->stopping)
                wait_until(gate, gate->deadline_ns);
            else
                pthread_cond_wait(&gate->changed, &gate->lock);
        } else {
            gate->in_flight++;
            entered = true;
            break;
        }
    }
    pthread_mutex_unlock(&gate->lock);
    return entered;
}

static bool is_overload(const struct reply *reply) {
    return reply->status == 503 || (reply->status == 0 && reply->duration_ns >= timeout_ns);
}

static struct gate_news note_failure(struct gate *gate, const struct reply *reply, int64_t entered_ns, int64_t now) {
    bool slow = reply->retry == RETRY_SLOWLY, same_round = gate->failures > 0 && entered_ns < gate->pause_set_ns;
    int64_t pause;

    if (gate->down_since_ns == 0)
        gate->down_since_ns = now;
    if (is_overload(reply)) {
        gate->clean_since_ns = now;
        if (gate->limit > 1)
            gate->limit--;
    }
    if (gate->slow != slow && !same_round)
        gate->failures = 0;
    if (!same_round) {
        gate->slow = slow;
        gate->failures++;
        gate->pause_set_ns = now;
    }
    pause = retry_delay_ns(reply->retry, gate->failures, reply->retry_after_ns, next_random(gate));
    if (gate->stopping && pause > last_pause_ns && reply->retry_after_ns == 0)
        pause = last_pause_ns;
    pause /= gate->divisor;
    if (!same_round || reply->retry_after_ns > 0)
        if (gate->paused_until_ns < now + pause)
            gate->paused_until_ns = now + pause;
    return (struct gate_news){ .failures = gate->failures, .pause_ns = gate->paused_until_ns - now };
}

static struct gate_news note_success(struct gate *gate, const struct reply *reply, int64_t now) {
    struct gate_news news = { .was_down_ns = gate->down_since_ns != 0 ? now - gate->down_since_ns + 1 : 0 };

    gate->down_since_ns = 0;
    gate->failures = 0;
    if (gate->limit < gate->most && now - gate->clean_since_ns >= clean_ns) {
        gate->limit++;
        gate->clean_since_ns = now;
    }
    if (reply->outcome == DELIVERED || reply->outcome == PARTIAL)
        atomic_fetch_add(&gate->stored_requests, 1);
    return news;
}

struct gate_news gate_leave(struct gate *gate, const struct reply *reply, int64_t entered_ns, bool data_to_blame) {
    struct gate_news news = { 0 };
    int64_t now = clock_mono_ns();

    pthread_mutex_lock(&gate->lock);
    gate->in_flight--;
    gate->answered = true;
    if (reply->outcome != RETRY_LATER)
        news = note_success(gate, reply, now);
    else if (!data_to_blame)
        news = note_failure(gate, reply, entered_ns, now);
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
    return news;
}

uint64_t gate_stored_requests(const struct gate *gate) {
    return atomic_load((_Atomic uint64_t *)&gate->stored_requests);
}

void gate_suspect(struct gate *gate, int change) {
    pthread_mutex_lock(&gate->lock);
    gate->suspects = (unsigned)((int)gate->suspects + change);
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

void gate_nap(struct gate *gate, int64_t pause_ns) {
    int64_t until = clock_mono_ns() + pause_ns / gate->divisor;

    pthread_mutex_lock(&gate->lock);
    bool was_stopping = gate->stopping;
    while (clock_mono_ns() < until && gate->stopping == was_stopping && !time_is_up(gate, clock_mono_ns()))
        wait_until(gate, gate->stopping && gate->deadline_ns < until ? gate->deadline_ns : until);
    pthread_mutex_unlock(&gate->lock);
}

uint64_t gate_random(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    uint64_t random = next_random(gate);
    pthread_mutex_unlock(&gate->lock);
    return random;
}

bool gate_wait_stand_in(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    while (!gate->stopping && gate->suspects < gate->most)
        pthread_cond_wait(&gate->changed, &gate->lock);
    bool needed = !gate->stopping;
    pthread_mutex_unlock(&gate->lock);
    return needed;
}

void gate_too_large(struct gate *gate, uint64_t bytes) {
    uint64_t ceiling = bytes / 2 > CEILING_LOWEST ? bytes / 2 : CEILING_LOWEST;

    pthread_mutex_lock(&gate->lock);
    if (ceiling < gate->ceiling_bytes)
        gate->ceiling_bytes = ceiling;
    gate->ceiling_set_ns = clock_mono_ns();
    pthread_mutex_unlock(&gate->lock);
}

uint64_t gate_ceiling(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    if (gate->ceiling_bytes < gate->max_bytes && clock_mono_ns() - gate->ceiling_set_ns >= ceiling_kept_ns) {
        gate->ceiling_bytes += gate->ceiling_bytes / 8;
        gate->ceiling_set_ns = clock_mono_ns();
        if (gate->ceiling_bytes > gate->max_bytes)
            gate->ceiling_bytes = gate->max_bytes;
    }
    uint64_t ceiling = gate->ceiling_bytes;
    pthread_mutex_unlock(&gate->lock);
    return ceiling;
}

void gate_refuse_target(struct gate *gate, struct str target) {
    uint64_t hash = str_hash(target);
    struct gate_target *place = &gate->refused[0];

    pthread_mutex_lock(&gate->lock);
    for (size_t i = 0; i < GATE_REFUSED_TARGETS; i++) {
        struct gate_target *at = &gate->refused[i];
        if (at->hash == hash) {
            place = at;
            break;
        }
        if (at->until_ns < place->until_ns)
            place = at;
    }
    *place = (struct gate_target){ hash, clock_mono_ns() + target_refused_ns };
    pthread_mutex_unlock(&gate->lock);
}

bool gate_target_refused(struct gate *gate, struct str target) {
    uint64_t hash = str_hash(target);
    int64_t now = clock_mono_ns();
    bool refused = false;

    pthread_mutex_lock(&gate->lock);
    for (size_t i = 0; i < GATE_REFUSED_TARGETS; i++)
        refused = refused || (gate->refused[i].hash == hash && gate->refused[i].until_ns > now);
    pthread_mutex_unlock(&gate->lock);
    return refused;
}

void gate_stop(struct gate *gate, int64_t deadline_ns) {
    pthread_mutex_lock(&gate->lock);
    if (!gate->stopping) {
        gate->paused_until_ns = 0;
        gate->failures = 0;
    }
    if (!gate->stopping || deadline_ns < gate->deadline_ns)
        gate->deadline_ns = deadline_ns;
    gate->stopping = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

void gate_cancel(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    atomic_store(&gate->cancel, true);
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

bool gate_open(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    bool open = !time_is_up(gate, clock_mono_ns());
    pthread_mutex_unlock(&gate->lock);
    return open;
}

struct gate_state gate_state(struct gate *gate) {
    int64_t now = clock_mono_ns();
    struct gate_state state;

    pthread_mutex_lock(&gate->lock);
    state = (struct gate_state){
        .answered = gate->answered,
        .up = gate->down_since_ns == 0,
        .down_ns = gate->down_since_ns != 0 ? now - gate->down_since_ns : 0,
        .pause_ns = gate->paused_until_ns > now ? gate->paused_until_ns - now : 0,
        .limit = gate->limit,
        .in_flight = gate->in_flight,
    };
    pthread_mutex_unlock(&gate->lock);
    return state;
}
