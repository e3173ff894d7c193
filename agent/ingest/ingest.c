/* agent/ingest/ingest.c: one message after the other: route, parse, make lines, hand them to the spool. */
#include "agent/ingest/ingest_parts.h"

#include "agent/base/clock.h"
#include "agent/ingest/count.h"

enum { KEEP_BUFFER_BYTES = 1 << 20, SERIES_BITS = 1024, SHOWN_TAGS = 20 };

static const int64_t year_2000_ns = 946684800 * NS_PER_S;

/* The message in work. */
struct work {
    struct ingest *ingest;
    const struct message *message;
    const struct topic_plan *plan;
    struct buf *trace;
    struct err *err;
    size_t first_variant;
    size_t point; /* number in the message, from 1, for words */
    uint64_t written;
    int64_t base_ns;                   /* for points without time */
    uint64_t series[SERIES_BITS / 64]; /* hashes of series that had a point without time in this message */
};

static bool topic_valid(struct str topic, struct err *err) {
    if (topic.len == 0)
        return err_set(err, ERR_SYNTAX, "the topic is empty");
    if (memchr(topic.data, '\0', topic.len) != NULL)
        return err_set(err, ERR_SYNTAX, "the topic has a NUL in it");
    if (!str_is_utf8(topic))
        return err_set(err, ERR_SYNTAX, "the topic is not UTF-8");
    return true;
}

/* From the cache, or built: then in the message's arena, with a packed copy for the cache. NULL with `err`. */
static const struct topic_plan *find_plan(struct ingest *ingest, struct str topic, struct topic_plan *built,
                                          struct err *err) {
    uint64_t hash = str_hash(topic);
    const struct topic_plan *plan = prefix_cache_find(&ingest->cache, topic, hash);
    struct topic_plan *copy;

    if (plan != NULL) {
        count_add(&ingest->cache.hits, 1);
        return plan;
    }
    count_add(&ingest->cache.misses, 1);
    if (!topic_valid(topic, err))
        return NULL;
    if (!topic_plan_build(&ingest->transform, route_match(ingest->routes, ingest->route_count, topic), topic,
                          &ingest->points.arena, built, err))
        return NULL;
    copy = topic_plan_pack(built);
    return copy != NULL && prefix_cache_insert(&ingest->cache, copy) ? copy : built;
}

static bool is_plausible(const struct ingest_block *block, int64_t time_ns, int64_t received_ns) {
    int64_t oldest = block->max_past_ns > 0 ? received_ns - block->max_past_ns : year_2000_ns;

    if (time_ns < oldest)
        return false;
    return block->max_future_ns == 0 || time_ns <= received_ns || time_ns - received_ns <= block->max_future_ns;
}

/* Servers know one less at the upper end and two less at the lower one than int64 has. */
static bool is_storable(int64_t time_ns) {
    return time_ns >= INT64_MIN + 2 && time_ns < INT64_MAX;
}

/*
 * The time of a point that brings none: the arrival, moved on by a nanosecond for each further point of a series within
 * the message, so that none overwrites another. A hash met by chance moves a point that need not move, by one
 * nanosecond.
 */
static int64_t given_time(struct work *work, const struct line_prefix *prefix) {
    uint64_t bit = UINT64_C(1) << (prefix->hash & 63),
             *word = &work->series[prefix->hash >> 6 & (SERIES_BITS / 64 - 1)];

    if ((*word & bit) != 0)
        return ++work->ingest->last_given_ns;
    *word |= bit;
    return work->base_ns;
}

/* A point on its way through the variants. */
struct passage {
    const struct point *point;
    enum { TIME_OPEN, TIME_SET, TIME_DROPPED } time;
    int64_t time_ns;
    enum filtered_reason reason; /* how far it came, should nothing be written */
};

/* False when the point is to be dropped for its time, which is the same for all variants. */
static bool choose_time(struct work *work, struct passage *passage, const struct line_prefix *prefix) {
    const struct ingest_block *block = &work->ingest->block;
    const struct point *point = passage->point;

    if (passage->time != TIME_OPEN)
        return passage->time == TIME_SET;
    passage->time = TIME_SET;
    passage->time_ns = point->time_ns;
    if (point->has_time) {
        if (is_storable(point->time_ns) &&
            (block->bad_time == BAD_TIME_KEEP || is_plausible(block, point->time_ns, work->message->received_ns)))
            return true;
        if (block->bad_time == BAD_TIME_DROP) {
            passage->time = TIME_DROPPED;
            passage->reason = FILTERED_TIME;
            return false;
        }
        count_add(&work->ingest->figures->time_replaced, 1);
        say(work->trace, "  point %zu: its time %lld is implausible, the arrival time is taken", work->point,
            (long long)point->time_ns);
    }
    passage->time_ns = given_time(work, prefix);
    return true;
}

/* The point's fields and those of the topic, without the unwanted ones: as they are when nothing is to be done. */
static const struct field *wanted_fields(struct work *work, const struct point *point,
                                         const struct ingest_filter *output, size_t *count) {
    struct points *points = &work->ingest->points;
    const struct topic_facts *facts = &work->plan->facts;
    const struct ingest_filter *input = &work->plan->route->filter;
    const struct field *own = point->field_count > 0 ? point_fields(points, point) : NULL;
    size_t kept = 0, total = point->field_count + facts->field_count;
    struct field *fields;

    *count = point->field_count;
    if (facts->field_count == 0 && !filter_has_field_rules(input) &&
        (output == NULL || !filter_has_field_rules(output)))
        return own;
    fields = arena_alloc(&points->arena, total * sizeof *fields + 1);
    if (fields == NULL) {
        err_set(work->err, ERR_LIMIT, "the message makes too many points");
        return NULL;
    }
    for (size_t i = 0; i < total; i++) {
        const struct field *field = i < point->field_count ? &own[i] : &facts->fields[i - point->field_count];
        if (filter_keeps_field(input, field->key) && (output == NULL || filter_keeps_field(output, field->key)))
            fields[kept++] = *field;
    }
    *count = kept;
    return fields;
}

static enum line_end encode_variant(struct work *work, struct passage *passage, size_t variant) {
    struct ingest *ingest = work->ingest;
    const struct ingest_filter *output = variant > 0 ? ingest->transform.filtered[variant - 1] : NULL;
    const struct plan_variant *plan = &work->plan->variants[variant];
    const struct point *point = passage->point;
    struct ingest_lines *lines = &ingest->lines[variant];
    const struct field *fields;
    struct plan_variant own;
    enum line_end end;
    size_t count;

    if (point->measurement.len > 0 || point->tag_count > 0) {
        const struct tag *own_tags = point->tag_count > 0 ? point_tags(&ingest->points, point) : NULL;
        if (!topic_plan_variant(&ingest->transform, work->plan, point, own_tags, variant,
                                &ingest->points.arena, &own, work->err))
            return LINE_REFUSED;
        plan = &own;
    }
    if (!plan->wanted || !choose_time(work, passage, &plan->prefix))
        return LINE_EMPTY;
    passage->reason = FILTERED_NO_FIELDS;
    fields = wanted_fields(work, point, output, &count);
    if (work->err->code != ERR_NONE)
        return LINE_REFUSED;
    end = line_encode(&ingest->encoder, &plan->prefix, fields, count, passage->time_ns, &lines->text,
                      &ingest->points.arena, work->err);
    lines->count += end == LINE_WRITTEN;
    return end;
}

static const char *const filtered_words[FILTERED_COUNT] = {
    [FILTERED_RULES] = "filtered by its name or tags (namepass, namedrop, tagpass, tagdrop)",
    [FILTERED_NO_FIELDS] = "no field is left of it",
    [FILTERED_TIME] = "dropped, its time is implausible (implausible_time: drop)",
};

/* A point for every variant. Its changes are counted once, with the first. */
static bool encode_point(struct work *work, const struct point *point) {
    struct ingest *ingest = work->ingest;
    struct passage passage = { .point = point, .reason = FILTERED_RULES };
    struct arena_mark before = arena_mark(&ingest->points.arena);
    enum line_end end = LINE_EMPTY;
    bool written = false;

    work->point++;
    for (size_t v = work->first_variant; v < work->plan->variant_count && end != LINE_REFUSED; v++) {
        ingest->encoder.counters = v == work->first_variant ? &ingest->figures->lines : &ingest->uncounted;
        end = encode_variant(work, &passage, v);
        written |= end == LINE_WRITTEN;
    }
    ingest->encoder.counters = &ingest->figures->lines;
    if (end == LINE_REFUSED)
        return false;
    if (!written) {
        count_add(&ingest->figures->filtered[passage.reason], 1);
        say(work->trace, "  point %zu: %s", work->point, filtered_words[passage.reason]);
    }
    work->written += written;
    arena_rewind(&ingest->points.arena, before);
    return true;
}

static void start_lines(struct ingest *ingest) {
    for (size_t i = 0; i <= ingest->transform.filtered_count; i++) {
        buf_reset(&ingest->lines[i].text);
        ingest->lines[i].count = 0;
    }
}

static void trace_plan(const struct work *work) {
    const struct ingest *ingest = work->ingest;
    const struct route *route = work->plan->route;
    const struct topic_facts *facts = &work->plan->facts;

    for (size_t i = 0; i < ingest->route_count && &ingest->routes[i] != route; i++)
        say(work->trace, "%s: does not match", ingest->routes[i].name);
    say(work->trace, "%s: taken%s%s", route->name, route->type != NULL && !route->drops ? ", data_format " : "",
        route->type != NULL && !route->drops ? route->type->name : "");
    if (facts->measurement.len > 0)
        say(work->trace, "topic_parsing: measurement %.*s", STR_ARGS(facts->measurement));
    for (size_t i = 0; i < facts->tag_count; i++)
        say(work->trace, "tag from the topic: %.*s = %.*s", STR_ARGS(facts->tags[i].key),
            STR_ARGS(facts->tags[i].value));
    for (size_t i = 0; i < facts->field_count; i++)
        say(work->trace, "field from the topic: %.*s", STR_ARGS(facts->fields[i].key));
}

/* What the parser made of it: what it left out, and what it took from the payload beside fields, of the first point. */
static void trace_parsed(const struct work *work) {
    struct points *points = &work->ingest->points;
    const struct point *first = points->items;

    say(work->trace, "parsed: %zu point%s, %zu value%s, %llu left out", points->count, points->count == 1 ? "" : "s",
        points->field_count, points->field_count == 1 ? "" : "s", (unsigned long long)points->omitted);
    if (points->notes != NULL)
        buf_append_str(work->trace, buf_str(points->notes));
    if (points->count == 0)
        return;
    if (first->measurement.len > 0)
        say(work->trace, "  measurement from the payload or the parser's options: %.*s", STR_ARGS(first->measurement));
    for (size_t i = 0; i < first->tag_count && i < SHOWN_TAGS; i++)
        say(work->trace, "  tag from the payload: %.*s = %.*s", STR_ARGS(point_tags(points, first)[i].key),
            STR_ARGS(point_tags(points, first)[i].value));
    say(work->trace, "  time: %s", first->has_time ? "the payload's" : "of arrival");
}

static enum ingest_end process(struct work *work) {
    struct ingest *ingest = work->ingest;
    struct points *points = &ingest->points;
    struct route *route = work->plan->route;

    if (work->trace != NULL)
        trace_plan(work);
    if (route->drops) {
        count_add(&ingest->figures->filtered[FILTERED_UNMATCHED], 1);
        say(work->trace, "no route matches, and the input says `unmatched: drop`");
        return INGEST_FILTERED;
    }
    if (!route->type->parse(route->parser, work->message, points, work->err))
        return INGEST_DEAD;
    count_add(&ingest->figures->parser_omitted, points->omitted);
    if (work->trace != NULL)
        trace_parsed(work);
    for (size_t i = 0; i < points->count; i++)
        if (!encode_point(work, &points->items[i]))
            return INGEST_DEAD;
    count_add(&ingest->figures->points, work->written);
    if (points->count == 0)
        count_add(&ingest->figures->filtered[FILTERED_NO_FIELDS], 1);
    return work->written > 0 ? INGEST_LINES : INGEST_FILTERED;
}

/* What one large message needed is given back, so that memory stays flat. */
static void shrink(struct ingest *ingest) {
    for (size_t i = 0; i <= ingest->transform.filtered_count; i++)
        if (ingest->lines[i].text.cap > KEEP_BUFFER_BYTES)
            buf_release(&ingest->lines[i].text);
    if (ingest->points.arena.total > KEEP_BUFFER_BYTES || ingest->points.field_cap > KEEP_BUFFER_BYTES / 64)
        points_release(&ingest->points);
}

enum ingest_end ingest_process(struct ingest *ingest, const struct message *message, bool all, struct buf *trace,
                               struct err *err) {
    struct work work = { .ingest = ingest, .message = message, .trace = trace, .err = err };
    struct topic_plan built;
    enum ingest_end end;

    if (message->too_large) {
        err_set(err, ERR_LIMIT, "a payload of %zu bytes is larger than max_message_bytes", message->payload.len);
        return INGEST_DEAD;
    }
    points_reset(&ingest->points);
    start_lines(ingest);
    work.first_variant = all || ingest->lines[0].outputs != 0 || ingest->context->outputs == 0 ? 0 : 1;
    work.plan = find_plan(ingest, message->topic, &built, err);
    if (work.plan == NULL) {
        say(trace, "the payload is not looked at: its topic cannot be used");
        return INGEST_DEAD;
    }
    /* Rising, also behind a message some of whose points were moved on. */
    if (message->received_ns > ingest->last_given_ns)
        ingest->last_given_ns = message->received_ns;
    else
        ingest->last_given_ns++;
    work.base_ns = ingest->last_given_ns;
    end = process(&work);
    if (end == INGEST_DEAD && err->code == ERR_NONE)
        err_set(err, ERR_UNSUPPORTED, "the parser gave no reason");
    return end;
}

/* Lines of outputs with equal bytes become one record. */
static size_t make_records(struct ingest *ingest, const struct message *message) {
    struct spool_record *records = ingest->records;
    size_t count = 0;

    for (size_t v = 0; v <= ingest->transform.filtered_count; v++) {
        const struct ingest_lines *lines = &ingest->lines[v];
        size_t same = 0;
        if (lines->count == 0 || lines->outputs == 0)
            continue;
        while (same < count && !str_eq(records[same].text, buf_str(&lines->text)))
            same++;
        if (same < count)
            records[same].outputs |= lines->outputs;
        else
            records[count++] = (struct spool_record){
                .outputs = lines->outputs, .lines = lines->count, .topic = message->topic, .text = buf_str(&lines->text) };
    }
    if (count > 0)
        records[0].origin = message->origin;
    return count;
}

/* Enough of a payload to see what it was: the ring has no place for a very large one, and then nothing would be kept. */
static struct str kept_payload(const struct message *message) {
    const size_t whole = 256 * 1024, head = 64 * 1024;

    return message->payload.len <= whole ? message->payload : str_make(message->payload.data, head);
}

static void bury(struct ingest *ingest, const struct message *message, const struct err *err, uint64_t *sequence) {
    const struct dead_letter_sink *sink = &ingest->context->dead_letters;
    struct dead_letter letter = {
        .time_ns = message->received_ns,
        .stage = STR("ingest"),
        .input = str_of(ingest->name),
        .output = STR_EMPTY,
        .topic = message->topic,
        .reason = str_of(err_code_name(err->code)),
        .detail = str_of(err->text),
        .data = kept_payload(message),
    };

    if (letter.data.len < message->payload.len)
        letter.full_bytes = message->payload.len;
    count_add(&ingest->figures->failures[err->code], 1);
    if (sink->put != NULL)
        sink->put(sink->ctx, &letter);
    if (ingest->context->spool == NULL)
        return;
    if (message->qos > 0) /* acknowledged when the letter is on disk */
        spool_account_safely(ingest->context->spool, FATE_DEAD_LETTERED, &message->origin, sequence);
    else
        spool_account(ingest->context->spool, FATE_DEAD_LETTERED);
}

/* The topic in quotes for a shell; what would break them is left to the reader. */
static void report(struct ingest *ingest, const struct message *message, const struct err *err) {
    enum { TOPIC_SHOWN = 200 };
    struct str topic = message->topic;
    struct route *route = route_match(ingest->routes, ingest->route_count, topic);

    if (topic.len > TOPIC_SHOWN)
        topic.len = TOPIC_SHOWN;
    complain(&route->complaints[err->code], LOG_WARN, "INGEST-REFUSED",
             "%s, %s: a message on '%.*s' became a dead letter: %s; try: heliograf explain --topic '%.*s' PAYLOAD",
             ingest->what, route->name, STR_ARGS(topic), err->text, STR_ARGS(topic));
}

static enum spool_claim claim_of(const struct message *message) {
    if (message->qos > 0)
        return SPOOL_ACKNOWLEDGED;
    return message->sender_can_wait ? SPOOL_SENDER_CAN_WAIT : SPOOL_LAST_CHANCE;
}

static enum message_fate hand_over(struct ingest *ingest, const struct message *message, uint64_t *sequence) {
    size_t count = make_records(ingest, message);

    if (ingest->context->spool == NULL)
        return MESSAGE_TAKEN;
    if (count == 0) {
        spool_account(ingest->context->spool, FATE_FILTERED);
        return MESSAGE_TAKEN;
    }
    switch (spool_append(ingest->context->spool, ingest->records, count, claim_of(message), sequence)) {
    case SPOOL_APPENDED:
        return MESSAGE_TAKEN;
    case SPOOL_DROPPED:
        *sequence = 0;
        return MESSAGE_TAKEN;
    case SPOOL_REFUSED:
        break;
    }
    *sequence = 0;
    return MESSAGE_REFUSED;
}

enum message_fate ingest_deliver(void *ctx, const struct message *message, uint64_t *sequence) {
    struct ingest *ingest = ctx;
    enum message_fate fate = MESSAGE_TAKEN;
    struct err err;

    err_clear(&err);
    *sequence = 0;
    atomic_store_explicit(&ingest->figures->last_message_ns, (uint64_t)message->received_ns, memory_order_relaxed);
    switch (ingest_process(ingest, message, false, NULL, &err)) {
    case INGEST_LINES:
        fate = hand_over(ingest, message, sequence);
        break;
    case INGEST_FILTERED:
        if (ingest->context->spool != NULL)
            spool_account(ingest->context->spool, FATE_FILTERED);
        break;
    case INGEST_DEAD:
        report(ingest, message, &err);
        bury(ingest, message, &err, sequence);
        break;
    }
    shrink(ingest);
    return fate;
}

enum ingest_end ingest_records(struct ingest *ingest, const struct message *message, const struct spool_record **records,
                               size_t *count, struct err *reason) {
    int64_t last_given_ns = ingest->last_given_ns;
    enum ingest_end end;

    ingest->last_given_ns = INT64_MIN;
    end = ingest_process(ingest, message, false, NULL, reason);
    ingest->last_given_ns = last_given_ns;
    *records = ingest->records;
    *count = end == INGEST_LINES ? make_records(ingest, message) : 0;
    return end == INGEST_LINES && *count == 0 ? INGEST_FILTERED : end;
}
