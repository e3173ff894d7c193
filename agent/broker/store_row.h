/*
 * agent/broker/store_row.h: the rows of the store's database as values, without SQLite: what each table's cells mean, and the sum at each row's
 * end. Pure; bytes are borrowed from whoever filled the row.
 *
 * Everything about messages stands in one table, in the order of one sequence of numbers: publications, what is retained or delayed of them, and who
 * is owed them. So a message that comes and goes touches one page, where a table for each kind would touch one each; a page is what is written.
 *
 * The sum covers table, key and cells, and is salted with the identity of the database, 32 random bits: `sum ^ CRC-32C` is the same for all its rows.
 * So a row tells by itself that it is whole, and which rows belong together, with no other part of the file needed.
 */
#ifndef HELIOGRAF_BROKER_STORE_ROW_H
#define HELIOGRAF_BROKER_STORE_ROW_H

#include "agent/broker/store.h"

enum store_table { TABLE_SESSION, TABLE_SUBSCRIPTION, TABLE_RECEIVED, TABLE_MESSAGE, STORE_TABLES };

enum { /* the cells of each table, in order; the key first, the sum last */
    SESSION_NUMBER = 0, SESSION_CLIENT_ID, SESSION_USER, SESSION_VERSION, SESSION_EXPIRY_S, SESSION_ENDED_NS, SESSION_HAS_WILL,
    SESSION_WILL_DELAY_S, SESSION_WILL, SESSION_SUM, SESSION_CELLS,
    SUBSCRIPTION_SESSION = 0, SUBSCRIPTION_FILTER, SUBSCRIPTION_OPTIONS, SUBSCRIPTION_IDENTIFIER, SUBSCRIPTION_SUM, SUBSCRIPTION_CELLS,
    RECEIVED_SESSION = 0, RECEIVED_PACKET_ID, RECEIVED_SUM, RECEIVED_CELLS,
    MESSAGE_KEY = 0, MESSAGE_FLAGS, MESSAGE_SESSION, MESSAGE_PUBLICATION, MESSAGE_PACKET_ID, MESSAGE_AT_NS, MESSAGE_EXPIRES_NS, MESSAGE_TOPIC,
    MESSAGE_PAYLOAD, MESSAGE_PROPERTIES, MESSAGE_CLIENT_ID, MESSAGE_USER, MESSAGE_SUM, MESSAGE_CELLS,
    ROW_CELLS = MESSAGE_CELLS,
};

/* What a row of the table `message` is: the lower two bits of its key; above them stands the number of the publication, or of the delivery. */
enum message_kind { MESSAGE_IS_PUBLICATION, MESSAGE_IS_RETAINED, MESSAGE_IS_DELAYED, MESSAGE_IS_DELIVERY };

enum cell_type { CELL_NULL, CELL_INTEGER, CELL_TEXT, CELL_BLOB };
struct cell {
    enum cell_type type;
    int64_t integer;
    struct str bytes;
};

struct row {
    enum store_table table;
    struct cell cells[ROW_CELLS];
};

unsigned row_cells(enum store_table table);
const char *row_table_name(enum store_table table);

static inline int64_t message_key(uint64_t number, enum message_kind kind) {
    return (int64_t)(number << 2 | (unsigned)kind);
}

static inline uint64_t message_number(const struct row *row) {
    return (uint64_t)row->cells[MESSAGE_KEY].integer >> 2;
}

static inline enum message_kind message_kind(const struct row *row) {
    return (enum message_kind)(row->cells[MESSAGE_KEY].integer & 3);
}

void row_seal(struct row *row, uint32_t identity);
/* The identity that the row was sealed with, or another when it is damaged; false: it has no sum. */
bool row_identity(const struct row *row, uint32_t *identity);

/* To rows, unsealed. */
void row_of_session(struct row *row, const struct stored_session *session);
void row_of_subscription(struct row *row, uint64_t session, struct str filter, const struct subscription_terms *terms);
void row_of_received(struct row *row, uint64_t session, uint16_t packet_id);
void row_of_publication(struct row *row, uint64_t number, const struct publication *publication);
void row_of_retained(struct row *row, uint64_t publication);
void row_of_delayed(struct row *row, uint64_t publication, int64_t due_ns);
void row_of_delivery(struct row *row, const struct stored_delivery *delivery);

/* From rows of the right table and kind; false: a value that we would never have written. */
bool row_to_session(const struct row *row, struct stored_session *session);
bool row_to_subscription(const struct row *row, uint64_t *session, struct str *filter, struct subscription_terms *terms);
bool row_to_received(const struct row *row, uint64_t *session, uint16_t *packet_id);
bool row_to_publication(const struct row *row, struct publication_parts *parts);
bool row_to_delayed(const struct row *row, int64_t *due_ns);
bool row_to_delivery(const struct row *row, struct stored_delivery *delivery);

#endif
