/* agent/mqtt_packet/properties.c: table 2-4 as rows; reading, writing and walking go by the kind of a row. */
#include "agent/mqtt_packet/properties.h"

#include "agent/mqtt_packet/codecs.h"

enum kind { NONE, BYTE, U16, U32, VARINT, TEXT, BINARY, PAIR };
enum values { ANY, BOOLEAN, NOT_ZERO, ALIAS, TOPIC };

/* Where a row's field is; what can come several times has none. */
#define FIELD(field) offsetof(struct mqtt_properties, field)
#define FIELD_BYTE(field) FIELD(field)
#define FIELD_U16(field) FIELD(field)
#define FIELD_U32(field) FIELD(field)
#define FIELD_TEXT(field) FIELD(field)
#define FIELD_BINARY(field) FIELD(field)
#define FIELD_VARINT(field) 0
#define FIELD_PAIR(field) 0

static const struct row {
    const char *name;
    uint16_t offset;
    uint16_t packets;
    uint8_t kind, values;
} rows[MQTT_PROPERTY_LIMIT] = {
#define X(id, field, kind, values, packets) [id] = { #field, FIELD_##kind(field), packets, kind, values },
    MQTT_PROPERTIES(X)
#undef X
};

static const uint8_t order[] = {
#define X(id, field, kind, values, packets) id,
    MQTT_PROPERTIES(X)
#undef X
};

static const struct row *row_of(uint32_t id) {
    return id < MQTT_PROPERTY_LIMIT && rows[id].kind != NONE ? &rows[id] : NULL;
}

const char *mqtt_property_name(unsigned identifier) {
    const struct row *row = row_of(identifier);

    return row != NULL ? row->name : "unknown property";
}

/* One property as it stands in a packet. */
struct item {
    uint32_t id;
    const struct row *row;
    uint32_t number;      /* BYTE to VARINT */
    struct str text, second; /* TEXT, BINARY; PAIR: name and value */
    struct str whole;
};

static void read_item(struct mqtt_reader *in, struct item *item) {
    const uint8_t *start = in->at;

    *item = (struct item){ .id = mqtt_read_varint(in) };
    item->row = row_of(item->id);
    if (item->row == NULL) {
        mqtt_break(in, MQTT_RULE_PROPERTY_UNKNOWN);
        return;
    }
    switch (item->row->kind) {
    case BYTE:
        item->number = mqtt_read_byte(in);
        break;
    case U16:
        item->number = mqtt_read_u16(in);
        break;
    case U32:
        item->number = mqtt_read_u32(in);
        break;
    case VARINT:
        item->number = mqtt_read_varint(in);
        break;
    case PAIR:
        item->text = mqtt_read_binary(in);
        item->second = mqtt_read_binary(in);
        break;
    default:
        item->text = mqtt_read_binary(in);
        break;
    }
    item->whole = str_make((const char *)start, (size_t)(in->at - start));
}

static enum mqtt_rule value_rule(const struct item *item) {
    enum mqtt_rule rule = MQTT_FINE;

    switch (item->row->values) {
    case BOOLEAN:
        return item->number <= 1 ? MQTT_FINE : MQTT_RULE_PROPERTY_VALUE;
    case NOT_ZERO:
        return item->number != 0 ? MQTT_FINE : MQTT_RULE_PROPERTY_VALUE;
    case ALIAS:
        return item->number != 0 ? MQTT_FINE : MQTT_RULE_TOPIC_ALIAS_ZERO;
    case TOPIC:
        rule = mqtt_topic_rule(item->text, 0);
        return rule == MQTT_RULE_TOPIC_EMPTY || rule == MQTT_RULE_TOPIC_WILDCARD ? MQTT_RULE_RESPONSE_TOPIC : rule;
    default:
        break;
    }
    if (item->row->kind == TEXT || item->row->kind == PAIR)
        rule = mqtt_text(item->text).rule;
    return rule == MQTT_FINE && item->row->kind == PAIR ? mqtt_text(item->second).rule : rule;
}

static bool may_repeat(const struct item *item, enum mqtt_type carrier) {
    return item->row->kind == PAIR || (item->row->kind == VARINT && carrier == MQTT_PUBLISH);
}

static void store(const struct item *item, struct mqtt_properties *to) {
    void *field = (char *)to + item->row->offset;

    to->present |= UINT64_C(1) << item->id;
    switch (item->row->kind) {
    case BYTE:
        *(uint8_t *)field = (uint8_t)item->number;
        break;
    case U16:
        *(uint16_t *)field = (uint16_t)item->number;
        break;
    case U32:
        *(uint32_t *)field = item->number;
        break;
    case TEXT:
    case BINARY:
        *(struct str *)field = item->text;
        break;
    default:
        break;
    }
}

static void read_property(struct mqtt_reader *in, enum mqtt_type carrier, struct mqtt_properties *to) {
    struct item item;

    read_item(in, &item);
    if (in->rule != MQTT_FINE)
        return;
    mqtt_require(in, (item.row->packets >> carrier & 1) != 0, MQTT_RULE_PROPERTY_MISPLACED);
    mqtt_require(in, (to->present >> item.id & 1) == 0 || may_repeat(&item, carrier), MQTT_RULE_PROPERTY_TWICE);
    mqtt_obey(in, value_rule(&item));
    store(&item, to);
}

void mqtt_read_properties(struct mqtt_reader *in, enum mqtt_type carrier, struct mqtt_properties *to) {
    const uint8_t *end = in->end;
    size_t len;

    *to = (struct mqtt_properties)MQTT_PROPERTIES_NONE;
    if (in->version != MQTT_5)
        return;
    len = mqtt_read_varint(in);
    mqtt_require(in, len <= mqtt_left(in), MQTT_RULE_TRUNCATED);
    if (in->rule != MQTT_FINE || len == 0)
        return;
    to->encoded = str_make((const char *)in->at, len);
    in->end = in->at + len;
    while (in->at < in->end)
        read_property(in, carrier, to);
    in->end = end;
    if (in->rule != MQTT_FINE)
        in->at = end;
}

/* The next of properties that were read before; false at their end, and where they are none. */
static bool next_item(struct str *rest, struct item *item) {
    const uint8_t *at = (const uint8_t *)rest->data;
    struct mqtt_reader in;

    if (rest->len == 0)
        return false;
    in = (struct mqtt_reader){ .at = at, .end = at + rest->len };
    read_item(&in, item);
    if (in.rule != MQTT_FINE)
        return false;
    *rest = str_make((const char *)in.at, mqtt_left(&in));
    return true;
}

bool mqtt_next_user_property(struct str *rest, struct str *name, struct str *value) {
    struct item item;

    while (next_item(rest, &item)) {
        if (item.row->kind != PAIR)
            continue;
        *name = item.text;
        *value = item.second;
        return true;
    }
    return false;
}

bool mqtt_next_subscription_id(struct str *rest, uint32_t *identifier) {
    struct item item;

    while (next_item(rest, &item)) {
        if (item.row->kind != VARINT)
            continue;
        *identifier = item.number;
        return true;
    }
    return false;
}

static void put_field(struct mqtt_writer *out, uint32_t id, const struct mqtt_properties *from) {
    const struct row *row = row_of(id);
    const void *field = row != NULL ? (const char *)from + row->offset : NULL;

    if (row == NULL || row->kind == PAIR || row->kind == VARINT)
        return;
    mqtt_put_byte(out, (uint8_t)id);
    switch (row->kind) {
    case BYTE:
        mqtt_put_byte(out, *(const uint8_t *)field);
        break;
    case U16:
        mqtt_put_u16(out, *(const uint16_t *)field);
        break;
    case U32:
        mqtt_put_u32(out, *(const uint32_t *)field);
        break;
    default:
        mqtt_put_binary(out, *(const struct str *)field);
        break;
    }
}

static void put_all(struct mqtt_writer *out, const struct mqtt_properties *from) {
    struct str rest = from->encoded;
    struct item item;
    uint64_t bits = from->present & ~out->left_out;

    for (size_t i = 0; bits != 0 && i < sizeof order; i++)
        if ((bits >> order[i] & 1) != 0)
            put_field(out, order[i], from);
    while (next_item(&rest, &item))
        if ((item.row->kind == PAIR || item.row->kind == VARINT) && (out->left_out >> item.id & 1) == 0)
            mqtt_put_raw(out, item.whole.data, item.whole.len);
}

size_t mqtt_properties_size(const struct mqtt_writer *out, const struct mqtt_properties *from) {
    struct mqtt_writer count = { .left_out = out->left_out };

    put_all(&count, from);
    return count.len;
}

void mqtt_put_properties(struct mqtt_writer *out, const struct mqtt_properties *from) {
    if (out->version != MQTT_5)
        return;
    mqtt_put_varint(out, (uint32_t)mqtt_properties_size(out, from));
    put_all(out, from);
}

size_t mqtt_user_property(void *to, struct str name, struct str value) {
    struct mqtt_writer out = { .to = to };

    mqtt_put_byte(&out, MQTT_PROPERTY_user_property);
    mqtt_put_binary(&out, name);
    mqtt_put_binary(&out, value);
    return out.unsayable ? 0 : out.len;
}

size_t mqtt_subscription_id(void *to, uint32_t identifier) {
    struct mqtt_writer out = { .to = to };

    mqtt_put_byte(&out, MQTT_PROPERTY_subscription_id);
    mqtt_put_varint(&out, identifier);
    return out.len;
}

size_t mqtt_forwarded_properties(const struct mqtt_properties *properties, void *to) {
    const uint64_t ours = mqtt_bit(message_expiry_s) | mqtt_bit(topic_alias) | mqtt_bit(subscription_id) |
                          mqtt_bit(will_delay_s);
    struct mqtt_writer out = { .to = to };
    struct str rest = properties->encoded;
    struct item item;

    if ((properties->present & ours) == 0) {
        mqtt_put_raw(&out, rest.data, rest.len);
        return out.len;
    }
    while (next_item(&rest, &item))
        if ((ours >> item.id & 1) == 0)
            mqtt_put_raw(&out, item.whole.data, item.whole.len);
    return out.len;
}
