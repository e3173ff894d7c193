/* agent/broker/store_row.c: see store_row.h. */
#include "agent/broker/store_row.h"

#include "agent/base/crc32c.h"

static const struct {
    const char *name;
    unsigned cells;
} tables[STORE_TABLES] = {
    [TABLE_SESSION] = { "session", SESSION_CELLS },
    [TABLE_SUBSCRIPTION] = { "subscription", SUBSCRIPTION_CELLS },
    [TABLE_RECEIVED] = { "received", RECEIVED_CELLS },
    [TABLE_MESSAGE] = { "message", MESSAGE_CELLS },
};

unsigned row_cells(enum store_table table) {
    return tables[table].cells;
}

const char *row_table_name(enum store_table table) {
    return tables[table].name;
}

/* ---- the sum ------------------------------------------------------------------------------------------------------- */

/* The same on every machine: little-endian. */
static unsigned char *put_number(unsigned char *to, uint64_t number) {
    for (unsigned i = 0; i < 8; i++)
        to[i] = (unsigned char)(number >> 8 * i);
    return to + 8;
}

/* Numbers and lengths are gathered and summed at once; texts by themselves. */
static uint32_t row_crc(const struct row *row) {
    unsigned char head[1 + ROW_CELLS * 9], *at = head;
    uint32_t crc = 0;

    *at++ = (unsigned char)row->table;
    for (unsigned i = 0; i + 1 < row_cells(row->table); i++) {
        const struct cell *cell = &row->cells[i];
        *at++ = (unsigned char)cell->type;
        if (cell->type != CELL_NULL)
            at = put_number(at, cell->type == CELL_INTEGER ? (uint64_t)cell->integer : cell->bytes.len);
    }
    crc = crc32c(crc, head, (size_t)(at - head));
    for (unsigned i = 0; i + 1 < row_cells(row->table); i++)
        if (row->cells[i].type >= CELL_TEXT && row->cells[i].bytes.len > 0)
            crc = crc32c(crc, row->cells[i].bytes.data, row->cells[i].bytes.len);
    return crc;
}

static struct cell integer(int64_t value) {
    return (struct cell){ .type = CELL_INTEGER, .integer = value };
}

static struct cell text(struct str value) {
    return (struct cell){ .type = CELL_TEXT, .bytes = value.len > 0 ? value : STR_EMPTY };
}

static struct cell blob(struct str value) {
    return (struct cell){ .type = CELL_BLOB, .bytes = value.len > 0 ? value : STR_EMPTY };
}

/* As a number with a sign, which takes four bytes; without, half of them would take six. */
void row_seal(struct row *row, uint32_t identity) {
    row->cells[row_cells(row->table) - 1] = integer((int32_t)(row_crc(row) ^ identity));
}

bool row_identity(const struct row *row, uint32_t *identity) {
    const struct cell *sum = &row->cells[row_cells(row->table) - 1];

    if (sum->type != CELL_INTEGER || sum->integer < INT32_MIN || sum->integer > INT32_MAX)
        return false;
    *identity = row_crc(row) ^ (uint32_t)sum->integer;
    return true;
}

/* ---- to rows ------------------------------------------------------------------------------------------------------- */

void row_of_session(struct row *row, const struct stored_session *session) {
    row->table = TABLE_SESSION;
    row->cells[SESSION_NUMBER] = integer((int64_t)session->number);
    row->cells[SESSION_CLIENT_ID] = text(session->client_id);
    row->cells[SESSION_USER] = text(session->user);
    row->cells[SESSION_VERSION] = integer(session->version);
    row->cells[SESSION_EXPIRY_S] = integer(session->expiry_s);
    row->cells[SESSION_ENDED_NS] = integer(session->ended_ns);
    row->cells[SESSION_HAS_WILL] = integer(session->has_will);
    row->cells[SESSION_WILL_DELAY_S] = integer(session->will_delay_s);
    row->cells[SESSION_WILL] = integer((int64_t)session->will);
}

enum { OPTION_QOS = 3, OPTION_NO_LOCAL = 4, OPTION_RETAIN_AS_PUBLISHED = 8, OPTION_RETAIN_HANDLING_AT = 4, OPTIONS_END = 64 }; /* as SUBSCRIBE has them */

void row_of_subscription(struct row *row, uint64_t session, struct str filter, const struct subscription_terms *terms) {
    row->table = TABLE_SUBSCRIPTION;
    row->cells[SUBSCRIPTION_SESSION] = integer((int64_t)session);
    row->cells[SUBSCRIPTION_FILTER] = text(filter);
    row->cells[SUBSCRIPTION_OPTIONS] = integer(terms->qos | (terms->no_local ? OPTION_NO_LOCAL : 0) |
                                               (terms->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0) |
                                               terms->retain_handling << OPTION_RETAIN_HANDLING_AT);
    row->cells[SUBSCRIPTION_IDENTIFIER] = integer(terms->identifier);
}

void row_of_received(struct row *row, uint64_t session, uint16_t packet_id) {
    row->table = TABLE_RECEIVED;
    row->cells[RECEIVED_SESSION] = integer((int64_t)session);
    row->cells[RECEIVED_PACKET_ID] = integer(packet_id);
}

static void start_message(struct row *row, uint64_t number, enum message_kind kind) {
    row->table = TABLE_MESSAGE;
    for (unsigned i = 0; i < MESSAGE_CELLS; i++)
        row->cells[i] = (struct cell){ .type = CELL_NULL };
    row->cells[MESSAGE_KEY] = integer(message_key(number, kind));
}

enum { FLAG_QOS = 3, FLAG_RETAIN = 4, FLAG_STATE_AT = 3, PUBLICATION_FLAGS_END = 8, DELIVERY_FLAGS_END = 32 };

void row_of_publication(struct row *row, uint64_t number, const struct publication *publication) {
    start_message(row, number, MESSAGE_IS_PUBLICATION);
    row->cells[MESSAGE_FLAGS] = integer(publication->qos | (publication->retain ? FLAG_RETAIN : 0));
    row->cells[MESSAGE_AT_NS] = integer(publication->published_ns);
    row->cells[MESSAGE_EXPIRES_NS] = integer(publication->expires_ns);
    row->cells[MESSAGE_TOPIC] = text(publication->topic);
    row->cells[MESSAGE_PAYLOAD] = blob(publication->payload);
    row->cells[MESSAGE_PROPERTIES] = blob(publication->properties);
    row->cells[MESSAGE_CLIENT_ID] = text(publication->client_id);
    row->cells[MESSAGE_USER] = text(publication->user);
}

void row_of_retained(struct row *row, uint64_t publication) {
    start_message(row, publication, MESSAGE_IS_RETAINED);
}

void row_of_delayed(struct row *row, uint64_t publication, int64_t due_ns) {
    start_message(row, publication, MESSAGE_IS_DELAYED);
    row->cells[MESSAGE_AT_NS] = integer(due_ns);
}

void row_of_delivery(struct row *row, const struct stored_delivery *delivery) {
    start_message(row, delivery->number, MESSAGE_IS_DELIVERY);
    row->cells[MESSAGE_FLAGS] = integer(delivery->qos | (delivery->retain ? FLAG_RETAIN : 0) | (int)delivery->state << FLAG_STATE_AT);
    row->cells[MESSAGE_SESSION] = integer((int64_t)delivery->session);
    row->cells[MESSAGE_PUBLICATION] = integer((int64_t)delivery->publication);
    row->cells[MESSAGE_PACKET_ID] = integer(delivery->packet_id);
    if (delivery->subscription_ids.len > 0)
        row->cells[MESSAGE_PROPERTIES] = blob(delivery->subscription_ids);
}

/* ---- from rows ----------------------------------------------------------------------------------------------------- */

/* Marks the row as bad instead of stopping: checked once, at the end. */
struct reading {
    const struct row *row;
    bool bad;
};

static int64_t take_integer(struct reading *reading, unsigned cell, int64_t min, int64_t max) {
    const struct cell *from = &reading->row->cells[cell];

    if (from->type != CELL_INTEGER || from->integer < min || from->integer > max) {
        reading->bad = true;
        return 0;
    }
    return from->integer;
}

static struct str take_bytes(struct reading *reading, unsigned cell, enum cell_type type) {
    const struct cell *from = &reading->row->cells[cell];

    if (from->type == type)
        return from->bytes;
    reading->bad = true;
    return STR_EMPTY;
}

bool row_to_session(const struct row *row, struct stored_session *session) {
    struct reading reading = { .row = row };

    *session = (struct stored_session){
        .number = (uint64_t)take_integer(&reading, SESSION_NUMBER, 1, INT64_MAX),
        .client_id = take_bytes(&reading, SESSION_CLIENT_ID, CELL_TEXT),
        .user = take_bytes(&reading, SESSION_USER, CELL_TEXT),
        .version = (uint8_t)take_integer(&reading, SESSION_VERSION, 3, 5),
        .expiry_s = (uint32_t)take_integer(&reading, SESSION_EXPIRY_S, 0, UINT32_MAX),
        .ended_ns = take_integer(&reading, SESSION_ENDED_NS, 0, INT64_MAX),
        .has_will = take_integer(&reading, SESSION_HAS_WILL, 0, 1) != 0,
        .will_delay_s = (uint32_t)take_integer(&reading, SESSION_WILL_DELAY_S, 0, UINT32_MAX),
        .will = (uint64_t)take_integer(&reading, SESSION_WILL, 0, INT64_MAX),
    };
    return !reading.bad;
}

bool row_to_subscription(const struct row *row, uint64_t *session, struct str *filter, struct subscription_terms *terms) {
    struct reading reading = { .row = row };
    unsigned options = (unsigned)take_integer(&reading, SUBSCRIPTION_OPTIONS, 0, OPTIONS_END - 1);

    *session = (uint64_t)take_integer(&reading, SUBSCRIPTION_SESSION, 1, INT64_MAX);
    *filter = take_bytes(&reading, SUBSCRIPTION_FILTER, CELL_TEXT);
    *terms = (struct subscription_terms){
        .qos = options & OPTION_QOS,
        .no_local = (options & OPTION_NO_LOCAL) != 0,
        .retain_as_published = (options & OPTION_RETAIN_AS_PUBLISHED) != 0,
        .retain_handling = (uint8_t)(options >> OPTION_RETAIN_HANDLING_AT),
        .identifier = (uint32_t)take_integer(&reading, SUBSCRIPTION_IDENTIFIER, 0, UINT32_MAX),
    };
    return !reading.bad && filter->len > 0 && terms->qos <= 2 && terms->retain_handling <= 2;
}

bool row_to_received(const struct row *row, uint64_t *session, uint16_t *packet_id) {
    struct reading reading = { .row = row };

    *session = (uint64_t)take_integer(&reading, RECEIVED_SESSION, 1, INT64_MAX);
    *packet_id = (uint16_t)take_integer(&reading, RECEIVED_PACKET_ID, 1, UINT16_MAX);
    return !reading.bad;
}

bool row_to_publication(const struct row *row, struct publication_parts *parts) {
    struct reading reading = { .row = row };
    unsigned flags = (unsigned)take_integer(&reading, MESSAGE_FLAGS, 0, PUBLICATION_FLAGS_END - 1);

    *parts = (struct publication_parts){
        .topic = take_bytes(&reading, MESSAGE_TOPIC, CELL_TEXT),
        .payload = take_bytes(&reading, MESSAGE_PAYLOAD, CELL_BLOB),
        .properties = take_bytes(&reading, MESSAGE_PROPERTIES, CELL_BLOB),
        .client_id = take_bytes(&reading, MESSAGE_CLIENT_ID, CELL_TEXT),
        .user = take_bytes(&reading, MESSAGE_USER, CELL_TEXT),
        .qos = flags & FLAG_QOS,
        .retain = (flags & FLAG_RETAIN) != 0,
        .expires_ns = take_integer(&reading, MESSAGE_EXPIRES_NS, INT64_MIN, INT64_MAX),
        .published_ns = take_integer(&reading, MESSAGE_AT_NS, INT64_MIN, INT64_MAX),
    };
    return !reading.bad && parts->qos <= 2 && message_number(row) > 0;
}

bool row_to_delayed(const struct row *row, int64_t *due_ns) {
    struct reading reading = { .row = row };

    *due_ns = take_integer(&reading, MESSAGE_AT_NS, INT64_MIN, INT64_MAX);
    return !reading.bad;
}

bool row_to_delivery(const struct row *row, struct stored_delivery *delivery) {
    struct reading reading = { .row = row };
    unsigned flags = (unsigned)take_integer(&reading, MESSAGE_FLAGS, 0, DELIVERY_FLAGS_END - 1);
    bool has_ids = row->cells[MESSAGE_PROPERTIES].type != CELL_NULL;

    *delivery = (struct stored_delivery){
        .session = (uint64_t)take_integer(&reading, MESSAGE_SESSION, 1, INT64_MAX),
        .number = message_number(row),
        .publication = (uint64_t)take_integer(&reading, MESSAGE_PUBLICATION, 1, INT64_MAX),
        .qos = flags & FLAG_QOS,
        .retain = (flags & FLAG_RETAIN) != 0,
        .packet_id = (uint16_t)take_integer(&reading, MESSAGE_PACKET_ID, 0, UINT16_MAX),
        .state = (enum delivery_state)(flags >> FLAG_STATE_AT),
        .subscription_ids = has_ids ? take_bytes(&reading, MESSAGE_PROPERTIES, CELL_BLOB) : STR_EMPTY,
    };
    return !reading.bad && delivery->qos <= 2 && delivery->state <= DELIVERY_RECEIVED;
}
