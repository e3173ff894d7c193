/* agent/mqtt_packet/connect.c: CONNECT (section 3.1) and CONNACK (section 3.2). */
#include "agent/mqtt_packet/codecs.h"

enum {
    LEVEL_BRIDGE = 0x80,
    FLAG_RESERVED = 0x01,
    FLAG_CLEAN_START = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USER_NAME = 0x80,
};

static const struct str name_3_1 = STR_INIT("MQIsdp"), name_later = STR_INIT("MQTT");

static bool level_fits(struct str name, uint8_t level) {
    return str_eq(name, name_3_1) ? level == MQTT_3_1 : level == MQTT_3_1_1 || level == MQTT_5;
}

/*
 * Leaves in connect->version the form to answer in, even when the level is refused: a level that we do know, but not by
 * this name, gets the return code 1 of 3.1.1, all others MQTT 5's reason code (section 3.1.2.2).
 */
static void read_version(struct mqtt_reader *in, struct mqtt_connect *connect) {
    struct str name = mqtt_read_binary(in);
    uint8_t level = mqtt_read_byte(in), bare = level & (uint8_t)~LEVEL_BRIDGE;

    mqtt_require(in, str_eq(name, name_3_1) || str_eq(name, name_later), MQTT_RULE_PROTOCOL_NAME);
    if (in->rule != MQTT_FINE)
        return;
    connect->bridge = level >= LEVEL_BRIDGE && bare < MQTT_5;
    connect->version = bare >= MQTT_3_1 && bare <= MQTT_5 ? MQTT_3_1_1 : MQTT_5;
    mqtt_require(in, level_fits(name, connect->bridge ? bare : level), MQTT_RULE_PROTOCOL_LEVEL);
    if (in->rule == MQTT_FINE)
        connect->version = bare;
    in->version = connect->version;
}

static void check_flags(struct mqtt_reader *in, uint8_t flags) {
    uint8_t will_qos = flags >> 3 & 3;
    bool will = (flags & FLAG_WILL) != 0, retain = (flags & FLAG_WILL_RETAIN) != 0;

    mqtt_require(in, (flags & FLAG_RESERVED) == 0 || in->version == MQTT_3_1, MQTT_RULE_CONNECT_RESERVED);
    mqtt_require(in, will_qos < 3, MQTT_RULE_WILL_QOS_3);
    mqtt_require(in, will || (will_qos == 0 && !retain) || in->version == MQTT_3_1, MQTT_RULE_WILL_FLAGS);
    mqtt_require(in, will_qos <= in->limits->maximum_qos, MQTT_RULE_QOS_UNSUPPORTED);
    mqtt_require(in, !retain || in->limits->retain_available, MQTT_RULE_RETAIN_UNSUPPORTED);
    mqtt_require(in, in->version == MQTT_5 || (flags & FLAG_USER_NAME) != 0 || (flags & FLAG_PASSWORD) == 0,
                 MQTT_RULE_PASSWORD_ALONE);
}

/* A text with a rule of its own for bytes that do not fit. */
static struct str read_named_text(struct mqtt_reader *in, enum mqtt_rule rule) {
    struct str text = mqtt_read_binary(in);

    mqtt_require(in, mqtt_text(text).rule == MQTT_FINE, rule);
    return text;
}

/* [MQTT-3.1.3-8] of 3.1.1: only a session that ends with its connection can have a name of ours. 3.1 always wants one. */
static struct str read_client_id(struct mqtt_reader *in, bool clean_start) {
    struct str id = read_named_text(in, MQTT_RULE_CLIENT_ID_TEXT);
    bool may_be_empty = in->version == MQTT_5 || (in->version == MQTT_3_1_1 && clean_start);

    mqtt_require(in, id.len > 0 || may_be_empty, MQTT_RULE_CLIENT_ID_EMPTY);
    return id;
}

static void read_will(struct mqtt_reader *in, uint8_t flags, struct mqtt_will *will) {
    will->qos = flags >> 3 & 3;
    will->retain = (flags & FLAG_WILL_RETAIN) != 0;
    mqtt_require(in, mqtt_left(in) > 0, MQTT_RULE_WILL_MISSING);
    mqtt_read_properties(in, MQTT_WILL, &will->properties);
    mqtt_require(in, mqtt_left(in) > 0, MQTT_RULE_WILL_MISSING);
    will->topic = mqtt_read_binary(in);
    mqtt_obey(in, mqtt_topic_rule(will->topic, in->limits->topic_levels));
    mqtt_require(in, mqtt_left(in) > 0, MQTT_RULE_WILL_MISSING);
    will->payload = mqtt_read_binary(in);
}

/*
 * In 3.1 the end of the packet outweighs the flags: a flag without a field is a field that is not there ("for
 * compatibility with the original MQTT V3 specification", section 3.1 there).
 */
static bool has_credential(struct mqtt_reader *in, bool flag, enum mqtt_rule rule) {
    bool there = mqtt_left(in) > 0;

    mqtt_require(in, !flag || there || in->version == MQTT_3_1, rule);
    return flag && there;
}

void mqtt_read_connect(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    struct mqtt_connect *connect = &out->as.connect;
    uint8_t connect_flags;

    *connect = (struct mqtt_connect){ .version = MQTT_UNKNOWN };
    read_version(in, connect);
    mqtt_require(in, flags == 0 || in->version == MQTT_3_1, MQTT_RULE_FLAGS);
    mqtt_require(in, !in->padded_length || in->version != MQTT_5, MQTT_RULE_LENGTH_NOT_MINIMAL);
    mqtt_require(in, mqtt_left(in) >= 3, MQTT_RULE_CONNECT_CUT);
    connect_flags = mqtt_read_byte(in);
    check_flags(in, connect_flags);
    connect->clean_start = (connect_flags & FLAG_CLEAN_START) != 0;
    connect->keep_alive_s = mqtt_read_u16(in);
    mqtt_read_properties(in, MQTT_CONNECT, &connect->properties);
    mqtt_require(in, !mqtt_has(&connect->properties, authentication_data) ||
                         mqtt_has(&connect->properties, authentication_method), MQTT_RULE_AUTH_DATA_ALONE);
    connect->client_id = read_client_id(in, connect->clean_start);
    connect->has_will = (connect_flags & FLAG_WILL) != 0;
    if (connect->has_will)
        read_will(in, connect_flags, &connect->will);
    connect->has_user_name = has_credential(in, (connect_flags & FLAG_USER_NAME) != 0, MQTT_RULE_USER_NAME_MISSING);
    if (connect->has_user_name)
        connect->user_name = read_named_text(in, MQTT_RULE_USER_NAME_TEXT);
    connect->has_password = has_credential(in, (connect_flags & FLAG_PASSWORD) != 0, MQTT_RULE_PASSWORD_MISSING);
    if (connect->has_password)
        connect->password = mqtt_read_binary(in);
}

static uint8_t flags_of(const struct mqtt_connect *connect) {
    unsigned flags = connect->clean_start ? FLAG_CLEAN_START : 0;

    if (connect->has_will)
        flags |= FLAG_WILL | (unsigned)connect->will.qos << 3 | (connect->will.retain ? FLAG_WILL_RETAIN : 0);
    flags |= connect->has_user_name ? FLAG_USER_NAME : 0;
    flags |= connect->has_password ? FLAG_PASSWORD : 0;
    return (uint8_t)flags;
}

void mqtt_write_connect(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    const struct mqtt_connect *connect = &packet->as.connect;

    out->unsayable |= connect->version != out->version || (connect->bridge && out->version == MQTT_5);
    mqtt_put_binary(out, connect->version == MQTT_3_1 ? name_3_1 : name_later);
    mqtt_put_byte(out, (uint8_t)(connect->version | (connect->bridge ? LEVEL_BRIDGE : 0)));
    mqtt_put_byte(out, flags_of(connect));
    mqtt_put_u16(out, connect->keep_alive_s);
    mqtt_put_properties(out, &connect->properties);
    mqtt_put_binary(out, connect->client_id);
    if (connect->has_will) {
        mqtt_put_properties(out, &connect->will.properties);
        mqtt_put_binary(out, connect->will.topic);
        mqtt_put_binary(out, connect->will.payload);
    }
    if (connect->has_user_name)
        mqtt_put_binary(out, connect->user_name);
    if (connect->has_password)
        mqtt_put_binary(out, connect->password);
}

/* The flags' only bit says whether there is a session; 3.1 has no flags. */
void mqtt_read_connack(struct mqtt_reader *in, uint8_t flags, struct mqtt_packet *out) {
    struct mqtt_connack *connack = &out->as.connack;
    uint8_t connack_flags = mqtt_read_byte(in), code = mqtt_read_byte(in);

    (void)flags;
    mqtt_require(in, connack_flags <= 1 || in->version == MQTT_3_1, MQTT_RULE_CONNACK_FLAGS);
    connack->session_present = in->version != MQTT_3_1 && (connack_flags & 1) != 0;
    connack->reason = in->version == MQTT_5 ? code : mqtt_connack_reason(code);
    mqtt_require(in, mqtt_reason_fits(connack->reason, MQTT_CONNACK) && (code == 0) == (connack->reason == 0),
                 MQTT_RULE_REASON_UNDEFINED);
    mqtt_require(in, connack->reason == MQTT_SUCCESS || !connack->session_present, MQTT_RULE_CONNACK_SESSION);
    mqtt_read_properties(in, MQTT_CONNACK, &connack->properties);
    mqtt_require(in, !mqtt_has(&connack->properties, authentication_data) ||
                         mqtt_has(&connack->properties, authentication_method), MQTT_RULE_AUTH_DATA_ALONE);
}

void mqtt_write_connack(struct mqtt_writer *out, const struct mqtt_packet *packet) {
    const struct mqtt_connack *connack = &packet->as.connack;
    uint8_t code = out->version == MQTT_5 ? connack->reason : mqtt_connack_code(connack->reason);

    out->unsayable |= code == 0 && connack->reason != MQTT_SUCCESS;
    mqtt_put_byte(out, connack->session_present && code == 0 && out->version != MQTT_3_1);
    mqtt_put_byte(out, code);
    mqtt_put_properties(out, &connack->properties);
}
