/* agent/delivery/delivery_log.c: see delivery_log.h. */
#include "agent/delivery/delivery_log.h"

#include <inttypes.h>
#include <stdio.h>

#include "agent/base/clock.h"

enum { BUSY_TOLERATED = 2, LOSS_TOLERATED = 1, SHOWN_TOPIC = 200 };

static struct spool_output_figures waiting(struct delivery *delivery) {
    struct spool_figures figures;

    spool_figures(delivery->spool, &figures);
    return figures.output[delivery->options.index];
}

static void keep_reason(struct delivery *delivery, const char *reason) {
    pthread_mutex_lock(&delivery->lock);
    snprintf(delivery->reason, sizeof delivery->reason, "%s", reason);
    pthread_mutex_unlock(&delivery->lock);
}

static void log_trouble(struct delivery *delivery, const struct reply *reply, const struct pace_news *news) {
    bool slow = reply->retry == RETRY_SLOWLY;
    const char *id = !slow                                          ? "OUTPUT-DOWN"
                     : reply->status == 401 || reply->status == 403 ? "OUTPUT-AUTH"
                                                                    : "OUTPUT-REFUSED";
    uint64_t repeats;

    if (!complaint_due(slow ? &delivery->refused : &delivery->unreachable, &repeats))
        return;
    char more[64] = "";
    if (repeats > 0)
        snprintf(more, sizeof more, " (%" PRIu64 " more like this were not logged)", repeats);
    log_write(slow ? LOG_ERROR : LOG_WARN, id, "output '%s' (%s): %s; %" PRIu64 " messages wait, next try in %.1f s%s",
              delivery->options.name, delivery->address, reply->reason, waiting(delivery).pending_messages,
              (double)news->pause_ns / 1e9, more);
}

/* A busy server or a lost connection is not worth a line while the next try works. */
static unsigned tolerated(const struct reply *reply) {
    if (reply->status != 0)
        return BUSY_TOLERATED;
    return reply->duration_ns < NS_PER_S ? LOSS_TOLERATED : 0;
}

/* The backlog gives way to a server that has become slow. */
static void log_latency(struct delivery *delivery, const struct pace_news *news) {
    if (news->crawls)
        complain(&delivery->slow, LOG_WARN, "OUTPUT-SLOW",
                 "output '%s' (%s): answers take %.2f s instead of about %.2f s; what waits (%" PRIu64
                 " messages) is sent more slowly until that passes",
                 delivery->options.name, delivery->address, (double)news->latency_ns / 1e9, (double)news->usual_ns / 1e9,
                 waiting(delivery).pending_messages);
    else if (news->walks && complaint_end(&delivery->slow))
        log_info("OUTPUT-QUICK", "output '%s' (%s): answers are as quick as usual again", delivery->options.name,
                 delivery->address);
}

void delivery_log_answer(struct delivery *delivery, const struct reply *reply, const struct pace_news *news,
                         bool blamed) {
    if (blamed)
        return;
    log_latency(delivery, news);
    if (reply->outcome == RETRY_LATER) {
        keep_reason(delivery, reply->reason);
        if (reply->retry == RETRY_SLOWLY || news->failures > tolerated(reply))
            log_trouble(delivery, reply, news);
        return;
    }
    if (news->was_down_ns == 0)
        return;
    keep_reason(delivery, "");
    bool unreachable = complaint_end(&delivery->unreachable), refused = complaint_end(&delivery->refused);
    if (unreachable || refused)
        log_info("OUTPUT-BACK", "output '%s' (%s): back after %.1f s; %" PRIu64 " messages wait",
                 delivery->options.name, delivery->address, (double)news->was_down_ns / 1e9,
                 waiting(delivery).pending_messages);
}

void delivery_log_rejected(struct delivery *delivery, enum reject_reason reason, const struct dead_letter *letter) {
    struct str topic = str_make(letter->topic.data, letter->topic.len < SHOWN_TOPIC ? letter->topic.len : SHOWN_TOPIC);

    complain(&delivery->rejected[reason], LOG_WARN, "LINES-REJECTED",
             "output '%s': a line from topic '%.*s' can never be stored (%s): %.*s; see dead letters",
             delivery->options.name, STR_ARGS(topic), reject_reason_name(reason), STR_ARGS(letter->detail));
}

void delivery_log_target(struct delivery *delivery, struct str target, struct str words) {
    struct str shown = str_make(target.data, target.len < SHOWN_TOPIC ? target.len : SHOWN_TOPIC);

    complain(&delivery->target_refused, LOG_ERROR, "OUTPUT-TARGET",
             "output '%s' (%s): target '%.*s' is refused while others are served: %.*s; its lines become dead letters",
             delivery->options.name, delivery->address, STR_ARGS(shown), STR_ARGS(words));
}

void delivery_log_left(struct delivery *delivery) {
    struct spool_output_figures figures = waiting(delivery);
    uint64_t messages = figures.pending_messages + figures.messages[FATE_DROPPED_SHUTDOWN];
    uint64_t lines = figures.pending_lines + figures.lines[FATE_DROPPED_SHUTDOWN];

    if (messages > 0)
        log_warn("OUTPUT-UNSENT", "output '%s' (%s): stopped with %" PRIu64 " messages (%" PRIu64 " lines) not sent",
                 delivery->options.name, delivery->address, messages, lines);
}
