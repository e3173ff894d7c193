/* agent/delivery/gate.c: see gate.h. */
#include "agent/delivery/gate.h"

#include "agent/base/clock.h"

static const int64_t last_pause_ns = 1 * NS_PER_S; /* while stopping: what is left is lost, so try often */
static const int64_t ceiling_kept_ns = 300 * NS_PER_S, target_refused_ns = 300 * NS_PER_S;
enum { CEILING_LOWEST = 4096 };

bool gate_init(struct gate *gate, const struct pace_options *options, uint64_t max_bytes) {
    pthread_condattr_t monotonic;

    *gate = (struct gate){ .max_bytes = max_bytes, .ceiling_bytes = max_bytes };
    pace_init(&gate->pace, options, clock_mono_ns());
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
    return gate->stopping && (now >= gate->deadline_ns || gate->pace.paused_until_ns >= gate->deadline_ns);
}

/* INT64_MAX: until something changes. */
static void wait_until(struct gate *gate, int64_t until_ns) {
    if (gate->stopping && until_ns > gate->deadline_ns)
        until_ns = gate->deadline_ns;
    if (until_ns == INT64_MAX) {
        pthread_cond_wait(&gate->changed, &gate->lock);
        return;
    }
    struct timespec until = clock_timespec(until_ns);
    pthread_cond_timedwait(&gate->changed, &gate->lock, &until);
}

bool gate_enter(struct gate *gate, const struct pace_request *request) {
    bool entered = false;

    pthread_mutex_lock(&gate->lock);
    while (!entered) {
        int64_t now = clock_mono_ns();
        if (time_is_up(gate, now))
            break;
        struct pace_wait wait = pace_ready(&gate->pace, request, gate->stopping, now);
        entered = wait.reason == PACE_FREE;
        if (entered) {
            pace_begin(&gate->pace, request);
        } else {
            wait_until(gate, wait.until_ns);
            metric_add(&gate->waited_ns[wait.reason], (uint64_t)(clock_mono_ns() - now));
        }
    }
    pthread_mutex_unlock(&gate->lock);
    return entered;
}

struct pace_news gate_leave(struct gate *gate, const struct pace_request *request, const struct reply *reply, int64_t entered_ns,
                            bool data_to_blame) {
    pthread_mutex_lock(&gate->lock);
    int64_t longest_pause_ns = gate->stopping ? last_pause_ns : INT64_MAX;
    struct pace_news news = pace_end(&gate->pace, request, reply, entered_ns, data_to_blame, longest_pause_ns, next_random(gate),
                                     clock_mono_ns());
    gate->answered = true;
    if (reply->outcome == DELIVERED || reply->outcome == PARTIAL)
        atomic_fetch_add(&gate->stored_requests, 1);
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
    return news;
}

static uint64_t at_most(uint64_t value, uint64_t most) {
    return value < most ? value : most;
}

/* Until there are tokens. False: the time is up. */
static bool wait_for_grant(struct gate *gate, struct gate_turn *turn) {
    struct pace_grant grant = turn->most;
    int64_t begun = clock_mono_ns(), until;

    turn->began_ns = begun;
    while (!time_is_up(gate, turn->began_ns)) {
        until = pace_grant(&gate->pace, &grant, turn->began_ns);
        if (until <= turn->began_ns) {
            turn->waited_ns = turn->began_ns - begun;
            turn->most.lines = grant.lines;
            turn->most.bytes = at_most(grant.bytes, turn->most.bytes);
            return true;
        }
        wait_until(gate, until);
        turn->began_ns = clock_mono_ns();
    }
    return false;
}

bool gate_begin_take(struct gate *gate, struct gate_turn *turn) {
    *turn = (struct gate_turn){ .most = { UINT32_MAX, gate_ceiling(gate) } };
    if (!pace_is_limited(&gate->pace))
        return true;
    pthread_mutex_lock(&gate->lock);
    while (gate->taking && !time_is_up(gate, clock_mono_ns()))
        wait_until(gate, INT64_MAX);
    bool mine = !gate->taking;
    gate->taking = true;
    bool fine = mine && wait_for_grant(gate, turn);
    if (mine && !fine) {
        gate->taking = false;
        pthread_cond_broadcast(&gate->changed);
    }
    pthread_mutex_unlock(&gate->lock);
    return fine;
}

struct pace_grant gate_end_take(struct gate *gate, const struct gate_turn *turn, uint64_t lines, uint64_t bytes, int64_t oldest_ns) {
    struct pace_grant paid = { (uint32_t)at_most(lines, turn->most.lines), at_most(bytes, turn->most.bytes) };

    if (!pace_is_limited(&gate->pace))
        return (struct pace_grant){ UINT32_MAX, UINT64_MAX };
    pthread_mutex_lock(&gate->lock);
    pace_pay(&gate->pace, paid.lines, paid.bytes);
    gate->taking = false;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
    if (lines > 0 && oldest_ns < turn->began_ns) /* it was there, and waited */
        metric_add(&gate->waited_ns[PACE_RATE], (uint64_t)turn->waited_ns);
    return paid;
}

int64_t gate_rests_until_ns(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    int64_t until_ns = pace_rests_until_ns(&gate->pace);
    pthread_mutex_unlock(&gate->lock);
    return until_ns;
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
    int64_t until = clock_mono_ns() + pause_ns / gate->pace.divisor;

    pthread_mutex_lock(&gate->lock);
    bool was_stopping = gate->stopping;
    while (clock_mono_ns() < until && gate->stopping == was_stopping && !time_is_up(gate, clock_mono_ns()))
        wait_until(gate, until);
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
    while (!gate->stopping && gate->suspects < gate->pace.most)
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
    uint64_t ceiling = at_most(gate->ceiling_bytes, pace_largest(&gate->pace).bytes);
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
        gate->pace.paused_until_ns = 0;
        gate->pace.failures = 0;
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
    const struct pace *pace = &gate->pace;
    int64_t now = clock_mono_ns();
    struct gate_state state;

    pthread_mutex_lock(&gate->lock);
    state = (struct gate_state){
        .answered = gate->answered,
        .up = pace->down_since_ns == 0,
        .down_ns = pace->down_since_ns != 0 ? now - pace->down_since_ns : 0,
        .pause_ns = pace->paused_until_ns > now ? pace->paused_until_ns - now : 0,
        .limit = pace_slots(pace),
        .in_flight = pace->in_flight,
        .latency_limit = pace->limiter.limit,
        .points_per_s = pace->points.rate,
        .bytes_per_s = pace->bytes.rate,
    };
    pthread_mutex_unlock(&gate->lock);
    return state;
}
