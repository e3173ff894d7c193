/* agent/delivery/delivery.c: the life of one output's senders. */
#include "agent/delivery/delivery.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/delivery/delivery_log.h"
#include "agent/delivery/sender.h"

enum { BATCH_BYTES = 1 << 20, BATCH_LINES = 5000, ADDRESS_MAX = 4096 };

static unsigned senders_wanted(const struct output_type *type, void *output) {
    unsigned wanted = type->concurrency != NULL ? type->concurrency(output) : 1;

    return wanted < 1 ? 1 : wanted > SENDERS_MAX ? SENDERS_MAX : wanted;
}

static void describe(struct delivery *delivery) {
    struct buf words = BUF_INIT(ADDRESS_MAX);

    if (delivery->type->describe != NULL)
        delivery->type->describe(delivery->output, &words);
    if (words.len == 0)
        buf_append_c(&words, delivery->type->name);
    snprintf(delivery->address, sizeof delivery->address, "%s", buf_cstr(&words));
    buf_release(&words);
}

static bool init_lock(struct delivery *delivery) {
    pthread_condattr_t monotonic;

    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&delivery->ended, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    if (!ok)
        return false;
    if (pthread_mutex_init(&delivery->lock, NULL) == 0)
        return true;
    pthread_cond_destroy(&delivery->ended);
    return false;
}

struct delivery *delivery_new(const struct delivery_options *options, const struct output_type *type, void *output,
                              struct spool *spool, struct dead_letter_sink dead_letters) {
    struct delivery *delivery = calloc(1, sizeof *delivery);

    if (delivery == NULL)
        return NULL;
    delivery->options = *options;
    delivery->type = type;
    delivery->output = output;
    delivery->spool = spool;
    delivery->dead_letters = dead_letters;
    if (delivery->options.max_batch_bytes == 0)
        delivery->options.max_batch_bytes = BATCH_BYTES;
    if (delivery->options.metric_batch_size <= 0)
        delivery->options.metric_batch_size = BATCH_LINES;
    if (delivery->options.metric_batch_size > INT32_MAX)
        delivery->options.metric_batch_size = INT32_MAX;
    if (!init_lock(delivery)) {
        free(delivery);
        return NULL;
    }
    struct pace_options pace = {
        .senders = senders_wanted(type, output),
        .points_per_s = options->points_per_s,
        .bytes_per_s = options->bytes_per_s,
        .divisor = options->pause_divisor,
    };
    if (!gate_init(&delivery->gate, &pace, delivery->options.max_batch_bytes)) {
        pthread_mutex_destroy(&delivery->lock);
        pthread_cond_destroy(&delivery->ended);
        free(delivery);
        return NULL;
    }
    describe(delivery);
    return delivery;
}

static void *sender_main(void *arg) {
    struct sender *sender = arg;
    struct delivery *delivery = sender->delivery;

    sender_run(sender);
    pthread_mutex_lock(&delivery->lock);
    delivery->running--;
    pthread_cond_broadcast(&delivery->ended);
    pthread_mutex_unlock(&delivery->lock);
    return NULL;
}

/* The thread takes no signals: those are for the main thread. */
static int start_sender(struct delivery *delivery, bool stand_in) {
    struct sender *sender = &delivery->senders[delivery->sender_count];
    sigset_t all, before;
    int error;

    sender_init(sender, delivery, stand_in);
    pthread_mutex_lock(&delivery->lock);
    delivery->running++;
    pthread_mutex_unlock(&delivery->lock);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&sender->thread, NULL, sender_main, sender);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        delivery->sender_count++;
        return 0;
    }
    sender_release(sender);
    pthread_mutex_lock(&delivery->lock);
    delivery->running--;
    pthread_mutex_unlock(&delivery->lock);
    return error;
}

bool delivery_start(struct delivery *delivery, struct err *err) {
    unsigned wanted = delivery->gate.pace.most;

    for (unsigned i = 0; i <= wanted; i++) {
        int error = start_sender(delivery, i == wanted);
        if (error == 0)
            continue;
        if (delivery->sender_count == 0)
            return err_set_errno(err, error, "output '%s': cannot start a thread", delivery->options.name);
        log_warn("OUTPUT-THREADS", "output '%s': only %u of %u sender threads could be started", delivery->options.name,
                 delivery->sender_count, wanted);
        break;
    }
    return true;
}

void delivery_begin_stop(struct delivery *delivery, int64_t deadline_mono_ns) {
    gate_stop(&delivery->gate, deadline_mono_ns);
}

/* Until all threads have ended, or the deadline. */
static void wait_ended(struct delivery *delivery, int64_t deadline_mono_ns) {
    struct timespec until = clock_timespec(deadline_mono_ns > 0 ? deadline_mono_ns : 0);

    pthread_mutex_lock(&delivery->lock);
    while (delivery->running > 0)
        if (pthread_cond_timedwait(&delivery->ended, &delivery->lock, &until) != 0)
            break;
    pthread_mutex_unlock(&delivery->lock);
}

void delivery_stop(struct delivery *delivery, int64_t deadline_mono_ns) {
    if (delivery->sender_count == 0)
        return;
    delivery_begin_stop(delivery, deadline_mono_ns);
    wait_ended(delivery, deadline_mono_ns);
    gate_cancel(&delivery->gate);
    for (unsigned i = 0; i < delivery->sender_count; i++) {
        pthread_join(delivery->senders[i].thread, NULL);
        sender_release(&delivery->senders[i]);
    }
    delivery->sender_count = 0;
    delivery_log_left(delivery);
}

void delivery_free(struct delivery *delivery) {
    if (delivery == NULL)
        return;
    delivery_stop(delivery, 0);
    gate_release(&delivery->gate);
    pthread_mutex_destroy(&delivery->lock);
    pthread_cond_destroy(&delivery->ended);
    free(delivery);
}

void delivery_state(struct delivery *delivery, struct delivery_state *state) {
    struct gate_state gate = gate_state(&delivery->gate);

    state->answered = gate.answered;
    state->up = gate.up;
    state->down_ns = gate.down_ns;
    state->reason[0] = '\0';
    if (gate.up)
        return;
    pthread_mutex_lock(&delivery->lock);
    memcpy(state->reason, delivery->reason, sizeof state->reason);
    pthread_mutex_unlock(&delivery->lock);
}
