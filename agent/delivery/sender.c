/*
 * agent/delivery/sender.c: take, send, understand the answer, settle. What an answer means for data is decided here and
 * nowhere else; the rule behind all of it: a line is given up only for an answer that is about this line alone.
 */
#include "agent/delivery/sender.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/delivery/delivery_log.h"

enum {
    EARLY_LINES = 1000,
    /* Equal answers before a request is suspected: while others get through, and while none does. Halving harms nobody.
     */
    SUSPECT_PROVEN = 4,
    SUSPECT_ALONE = 8,
};
static const int64_t target_patience_ns = 30 * NS_PER_S;
/* Between two tries of what the server has refused while it works: only this sender waits. */
static const int64_t target_nap_ns = 1 * NS_PER_S, suspect_nap_ns = 250 * NS_PER_MS;

void sender_init(struct sender *sender, struct delivery *delivery, bool stand_in) {
    const struct delivery_options *options = &delivery->options;
    uint64_t jitter =
        options->flush_jitter_ns > 0 ? gate_random(&delivery->gate) % (uint64_t)options->flush_jitter_ns : 0;
    uint32_t most = (uint32_t)options->metric_batch_size, at_once = pace_largest(&delivery->gate.pace).lines;

    if (most > at_once)
        most = at_once;
    *sender = (struct sender){ .delivery = delivery, .stand_in = stand_in, .max_lines = most };
    sender->flush = (struct spool_flush){
        .max_lines = most,
        .max_bytes = options->max_batch_bytes,
        .early_lines = most < EARLY_LINES ? most : EARLY_LINES,
        .max_age_ns = options->flush_interval_ns + (int64_t)jitter,
    };
    spool_batch_init(&sender->batch);
    grouping_init(&sender->grouping);
    reply_init(&sender->reply);
}

void sender_release(struct sender *sender) {
    spool_batch_release(&sender->batch);
    grouping_release(&sender->grouping);
    tally_release(&sender->tally);
    reply_release(&sender->reply);
    free(sender->line_ends);
}

/* An answer of our own: nothing was sent. */
static void not_sent(struct reply *reply, const char *why) {
    reply->outcome = RETRY_LATER;
    reply->retry = RETRY_BACKOFF;
    snprintf(reply->reason, sizeof reply->reason, "%.*s", REPLY_REASON_MAX - 1, why);
}

/* Offsets from the start of the range, as struct request wants them. NULL without memory. */
static const uint32_t *ends_of(struct sender *sender, const struct range *range, uint32_t start) {
    const uint32_t *ends = sender->grouping.line_ends + range->first;

    if (start == 0)
        return ends;
    if (range->count > sender->line_ends_cap) {
        uint32_t *larger = realloc(sender->line_ends, range->count * sizeof *larger);
        if (larger == NULL)
            return NULL;
        sender->line_ends = larger;
        sender->line_ends_cap = range->count;
    }
    for (uint32_t i = 0; i < range->count; i++)
        sender->line_ends[i] = ends[i] - start;
    return sender->line_ends;
}

static void transmit(struct sender *sender, struct str target, const struct range *range) {
    struct delivery *delivery = sender->delivery;
    const struct grouping *grouping = &sender->grouping;
    uint32_t start = range->first > 0 ? grouping->line_ends[range->first - 1] : 0;
    struct request request = {
        .body = str_make(grouping->body + start, split_bytes(grouping->line_ends, range->first, range->count)),
        .line_count = range->count,
        .line_ends = ends_of(sender, range, start),
        .target = target,
    };
    struct err err = ERR_INIT;

    reply_reset(&sender->reply);
    if (sender->connection == NULL)
        sender->connection = delivery->type->open(delivery->output, &delivery->gate.cancel, &err);
    if (sender->connection == NULL) {
        not_sent(&sender->reply, err.text);
    } else if (request.line_ends == NULL) {
        not_sent(&sender->reply, "out of memory");
    } else {
        delivery->type->send(delivery->output, sender->connection, &request, &sender->reply);
        delivery_figures_add(&delivery->figures, &sender->reply);
    }
}

static struct str answer_words(const struct reply *reply) {
    return str_make(reply->reason, strnlen(reply->reason, sizeof reply->reason));
}

static struct str inputs_of(const struct delivery_options *options, struct str topic, char *room, size_t size) {
    return options->inputs_of != NULL ? options->inputs_of(options->inputs_ctx, topic, room, size) : STR_EMPTY;
}

/* The end of one line: counted, kept as a dead letter, and complained about once per kind. */
static void bury(struct sender *sender, uint32_t place, enum reject_reason reason, struct str words) {
    struct delivery *delivery = sender->delivery;
    uint32_t line = grouping_line(&sender->grouping, place);
    struct str topic = batch_topic(&sender->batch, line);
    char inputs[256];
    struct dead_letter letter = {
        .time_ns = clock_real_ns(),
        .stage = STR("delivery"),
        .input = inputs_of(&delivery->options, topic, inputs, sizeof inputs),
        .output = str_of(delivery->options.name),
        .topic = topic,
        .reason = str_of(reject_reason_name(reason)),
        .detail = words,
        .data = batch_line(&sender->batch, line),
        .status = sender->reply.status,
    };

    tally_line(&sender->tally, line, FATE_DEAD_LETTERED);
    metric_add(&delivery->figures.rejected[reason], 1);
    delivery_log_rejected(delivery, reason, &letter);
    delivery->dead_letters.put(delivery->dead_letters.ctx, &letter);
}

static void bury_range(struct sender *sender, const struct range *range, enum reject_reason reason) {
    for (uint32_t i = 0; i < range->count; i++)
        bury(sender, range->first + i, reason, answer_words(&sender->reply));
}

static void bury_named(struct sender *sender, const struct range *range) {
    const struct reply *reply = &sender->reply;

    for (size_t i = 0; i < reply->rejected_count; i++) {
        const struct rejected_line *rejected = &reply->rejected[i];
        struct str words = str_make(rejected->reason, strnlen(rejected->reason, sizeof rejected->reason));
        if (rejected->line >= range->count || (i > 0 && rejected->line <= reply->rejected[i - 1].line))
            continue; /* the server named a line that was not sent, or one twice */
        if (words.len == 0)
            words = answer_words(reply);
        bury(sender, range->first + rejected->line, reject_reason_of(reply->status, words), words);
    }
}

/* SPLIT: too large, or refused for a line in it. Without an answer (status 0) the size is the likelier cause. */
static void judge_split(struct sender *sender, const struct range *range) {
    const struct reply *reply = &sender->reply;
    bool for_size = reply->status == 413 || reply->status == 0;

    if (range->count == 1) {
        bury_range(sender, range, reject_reason_of(reply->status, answer_words(reply)));
        return;
    }
    if (for_size)
        gate_too_large(&sender->delivery->gate, split_bytes(sender->grouping.line_ends, range->first, range->count));
    metric_add(&sender->delivery->figures.splits, 1);
    split_halve(&sender->split, range, !for_size);
}

static void set_suspects(struct sender *sender, bool suspects) {
    if (sender->suspects == suspects)
        return;
    sender->suspects = suspects;
    gate_suspect(&sender->delivery->gate, suspects ? 1 : -1);
}

/*
 * Notes one more answer to the same bytes. True when requests were stored since this answer came first. Words are not
 * compared, as servers put times and ids into them.
 */
static bool note_trouble(struct range *range, int status, uint64_t stored) {
    if (range->equal == 0 || range->status != status) {
        range->equal = 0;
        range->stored_before = stored;
        range->status = status;
    }
    range->equal++;
    return stored > range->stored_before;
}

/*
 * A 5xx that may come from the data (TDengine says so to any bad line). Halving is harmless, so it needs little proof;
 * a line is given up only after equal answers while other requests were stored in between. If nothing is stored
 * meanwhile, the server is down, and the line stays.
 */
static void judge_suspect(struct sender *sender, struct range *range) {
    bool proven = note_trouble(range, sender->reply.status, gate_stored_requests(&sender->delivery->gate));

    if (range->equal >= SUSPECT_PROVEN)
        set_suspects(sender, true);
    if (range->count > 1 && (range->suspected || range->equal >= (proven ? SUSPECT_PROVEN : SUSPECT_ALONE))) {
        metric_add(&sender->delivery->figures.splits, 1);
        range->suspected = true;
        split_halve(&sender->split, range, true);
    } else if (range->count == 1 && range->equal >= SUSPECT_PROVEN && proven) {
        bury_range(sender, range, reject_reason_of(sender->reply.status, answer_words(&sender->reply)));
    } else if (!(range->suspected || range->equal >= SUSPECT_PROVEN) || !split_defer(&sender->split, range)) {
        split_again(&sender->split, range);
    }
}

/*
 * The target that a tag names is refused (no such bucket, not allowed) while others are served: it must not hold them
 * up.
 */
static bool target_is_hopeless(struct sender *sender, struct group *group) {
    struct gate *gate = &sender->delivery->gate;
    int64_t now = clock_mono_ns();

    if (group->refused_since_ns == 0) {
        group->refused_since_ns = now;
        group->stored_before = gate_stored_requests(gate);
        set_suspects(sender, true); /* only another batch can show that other targets are served */
    }
    if (gate_target_refused(gate, group->target))
        return true;
    if (gate_stored_requests(gate) == group->stored_before ||
        now - group->refused_since_ns < target_patience_ns / gate->pace.divisor)
        return false;
    gate_refuse_target(gate, group->target);
    return true;
}

static void judge_retry(struct sender *sender, struct group *group, struct range *range) {
    struct delivery *delivery = sender->delivery;

    metric_add(&delivery->figures.retries, 1);
    if (sender->reply.retry == RETRY_SUSPECT) {
        judge_suspect(sender, range);
        return;
    }
    range->equal = 0;
    if (sender->reply.retry == RETRY_SLOWLY && group->target.len > 0 && target_is_hopeless(sender, group)) {
        delivery_log_target(delivery, group->target, answer_words(&sender->reply));
        bury_range(sender, range, REJECT_TARGET);
        return;
    }
    split_again(&sender->split, range);
}

static void judge(struct sender *sender, struct group *group, struct range *range) {
    switch (sender->reply.outcome) {
    case DELIVERED:
        group->refused_since_ns = 0;
        split_clean(&sender->split, range);
        break;
    case PARTIAL:
        bury_named(sender, range);
        break;
    case SPLIT:
        judge_split(sender, range);
        break;
    case REJECTED:
        bury_range(sender, range, reject_reason_of(sender->reply.status, answer_words(&sender->reply)));
        break;
    case RETRY_LATER:
        judge_retry(sender, group, range);
        break;
    }
}

/* True when the server works and what was sent is the trouble: no reason for other senders to pause. */
static bool data_to_blame(struct sender *sender, const struct group *group, const struct range *range) {
    const struct reply *reply = &sender->reply;
    struct gate *gate = &sender->delivery->gate;

    if (reply->outcome != RETRY_LATER)
        return false;
    if (reply->retry == RETRY_SUSPECT)
        return range->suspected &&
               (range->count > 1 || (range->equal > 0 && gate_stored_requests(gate) > range->stored_before));
    if (reply->retry != RETRY_SLOWLY || group->target.len == 0)
        return false;
    return gate_target_refused(gate, group->target) ||
           (group->refused_since_ns != 0 && gate_stored_requests(gate) > group->stored_before);
}

/* What is left of a group when its target is refused waits until the other groups had their turn. */
static bool postpone(struct sender *sender, struct group *group, const struct range *range) {
    const struct split *split = &sender->split;

    if (group->refused_since_ns == 0 || sender->reply.outcome != RETRY_LATER || sender->reply.retry != RETRY_SLOWLY ||
        split->piled != 1 || split->deferrals != 0)
        return false;
    group->count -= range->first - group->first;
    group->first = range->first;
    return true;
}

/* The range as the gate sees it. What was paid for when the batch was taken is used up first. */
static struct pace_request request_of(struct sender *sender, const struct range *range) {
    uint64_t bytes = split_bytes(sender->grouping.line_ends, range->first, range->count);
    uint32_t paid_lines = sender->paid.lines < range->count ? sender->paid.lines : range->count;
    uint64_t paid_bytes = sender->paid.bytes < bytes ? sender->paid.bytes : bytes;

    sender->paid.lines -= paid_lines;
    sender->paid.bytes -= paid_bytes;
    return (struct pace_request){
        .lines = range->count - paid_lines,
        .bytes = bytes - paid_bytes,
        .body_bytes = bytes,
        .backlog = sender->batch.more,
    };
}

/* One request and its answer. False: the time is up, the range is back in the split. */
static bool send_range(struct sender *sender, struct group *group, struct range *range) {
    struct delivery *delivery = sender->delivery;
    struct pace_request request = request_of(sender, range);

    if (!gate_enter(&delivery->gate, &request)) {
        split_again(&sender->split, range);
        return false;
    }
    int64_t entered_ns = clock_mono_ns();
    transmit(sender, group->target, range);
    bool blamed = data_to_blame(sender, group, range);
    struct pace_news news = gate_leave(&delivery->gate, &request, &sender->reply, entered_ns, blamed);
    delivery_log_answer(delivery, &sender->reply, &news, blamed);
    judge(sender, group, range);
    if (blamed && sender->reply.retry == RETRY_SLOWLY && sender->split.piled > 0)
        gate_nap(&delivery->gate, target_nap_ns);
    else if (blamed && range->count == 1 && range->equal < SUSPECT_PROVEN)
        gate_nap(&delivery->gate, suspect_nap_ns);
    return true;
}

/* Everything of the split that has no fate yet. */
static void drop_rest(struct sender *sender) {
    struct range range;

    while (split_next(&sender->split, UINT32_MAX, UINT64_MAX, &range))
        for (uint32_t i = 0; i < range.count; i++)
            tally_line(&sender->tally, grouping_line(&sender->grouping, range.first + i), FATE_DROPPED_SHUTDOWN);
}

/* Sends a group as far as it goes now; what is left stays in `first` and `count`. False: the time is up. */
static bool send_group(struct sender *sender, struct group *group) {
    struct gate *gate = &sender->delivery->gate;
    struct range range;

    split_begin(&sender->split, group->first, group->count, sender->grouping.line_ends);
    while (split_next(&sender->split, sender->max_lines, gate_ceiling(gate), &range)) {
        if (!send_range(sender, group, &range)) {
            drop_rest(sender);
            group->count = 0;
            return false;
        }
        if (postpone(sender, group, &range))
            return true;
    }
    group->count = 0;
    return true;
}

static void drop_groups(struct sender *sender) {
    struct grouping *grouping = &sender->grouping;

    for (size_t i = 0; i < grouping->group_count; i++) {
        split_begin(&sender->split, grouping->groups[i].first, grouping->groups[i].count, grouping->line_ends);
        drop_rest(sender);
    }
}

static void send_groups(struct sender *sender) {
    struct grouping *grouping = &sender->grouping;
    bool left = true;

    while (left) {
        left = false;
        for (size_t i = 0; i < grouping->group_count; i++) {
            struct group *group = &grouping->groups[i];
            if (group->count > 0 && !send_group(sender, group)) {
                drop_groups(sender);
                return;
            }
            left = left || group->count > 0;
        }
    }
}

/* The batch's ledger and layout; without memory the output pauses, as when it is down. False: the time is up. */
static bool prepare(struct sender *sender) {
    struct delivery *delivery = sender->delivery;
    const struct pace_request nothing = { 0 };

    while (!tally_begin(&sender->tally, &sender->batch) ||
           !grouping_make(&sender->grouping, &sender->batch, delivery->type, delivery->output)) {
        if (!gate_enter(&delivery->gate, &nothing))
            return false;
        int64_t entered_ns = clock_mono_ns();
        reply_reset(&sender->reply);
        not_sent(&sender->reply, "out of memory");
        struct pace_news news = gate_leave(&delivery->gate, &nothing, &sender->reply, entered_ns, false);
        delivery_log_answer(delivery, &sender->reply, &news, false);
    }
    return true;
}

/* Sends the batch and says how it ended. */
static struct spool_settlement deliver(struct sender *sender) {
    struct spool_settlement how = { .messages = { 0 } };

    if (!prepare(sender)) {
        how.messages[FATE_DROPPED_SHUTDOWN] = sender->batch.record_count;
        how.lines[FATE_DROPPED_SHUTDOWN] = sender->batch.line_count;
        return how;
    }
    send_groups(sender);
    set_suspects(sender, false);
    return tally_end(&sender->tally);
}

static bool take(struct sender *sender) {
    struct delivery *delivery = sender->delivery;
    struct gate *gate = &delivery->gate;
    struct spool_batch *batch = &sender->batch;
    struct gate_turn turn;

    if (!gate_open(gate) || (sender->stand_in && !gate_wait_stand_in(gate)) || !gate_begin_take(gate, &turn))
        return false;
    sender->flush.max_lines = turn.most.lines < sender->max_lines ? turn.most.lines : sender->max_lines;
    sender->flush.max_bytes = turn.most.bytes;
    batch->live_only_until_ns = gate_rests_until_ns(gate);
    bool taken = spool_take(delivery->spool, delivery->options.index, &sender->flush, batch);
    if (taken)
        sender->paid = gate_end_take(gate, &turn, batch->line_count, batch->lines.len, batch->records[0].appended_ns);
    else
        gate_end_take(gate, &turn, 0, 0, 0);
    return taken;
}

void sender_run(struct sender *sender) {
    struct delivery *delivery = sender->delivery;

    while (take(sender)) {
        struct spool_settlement how = deliver(sender);
        spool_settle(delivery->spool, delivery->options.index, &sender->batch, &how);
    }
    delivery->type->close(delivery->output, sender->connection);
    sender->connection = NULL;
}
