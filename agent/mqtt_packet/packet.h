/*
 * agent/mqtt_packet/packet.h: MQTT control packets as structs, for MQTT 3.1, 3.1.1 and 5.0, in both directions. What
 * mqtt_encode writes mqtt_decode reads back. No sockets, no memory, no state: strings are borrowed from the bytes (or
 * from the caller), and every function may be called from any thread.
 *
 *     struct mqtt_frame frame = mqtt_frame(received, &limits);
 *     if (frame.state == MQTT_FRAME_WHOLE) {
 *         struct mqtt_packet packet;
 *         enum mqtt_rule rule = mqtt_decode(str_make(received.data, frame.size), &limits, &packet);
 *         if (rule != MQTT_FINE)
 *             ... disconnect with mqtt_rule_reason(rule), log mqtt_rule_words(rule) ...
 *
 * A server that passes messages on to many clients uses delivery.h for its PUBLISH packets.
 */
#ifndef HELIOGRAF_MQTT_PACKET_PACKET_H
#define HELIOGRAF_MQTT_PACKET_PACKET_H

#include "agent/base/buf.h"
#include "agent/mqtt_packet/frame.h"
#include "agent/mqtt_packet/properties.h"
#include "agent/mqtt_packet/text.h"

struct mqtt_will {
    struct str topic, payload;
    uint8_t qos;
    bool retain;
    struct mqtt_properties properties;
};

struct mqtt_connect {
    enum mqtt_version version;
    bool bridge; /* the level's high bit: Mosquitto's bridges mark themselves so in 3.x */
    bool clean_start; /* clean session in 3.x */
    bool has_will, has_user_name, has_password;
    uint16_t keep_alive_s;
    struct str client_id, user_name, password;
    struct mqtt_will will; /* undefined unless has_will */
    struct mqtt_properties properties;
};

struct mqtt_connack {
    bool session_present;
    uint8_t reason; /* MQTT 5's; 3.x gets mqtt_connack_code of it */
    struct mqtt_properties properties;
};

struct mqtt_publish {
    uint8_t qos;
    bool retain, dup;
    uint16_t packet_id; /* 0 with QoS 0 */
    struct str topic;   /* empty where a topic alias stands for it */
    struct str payload;
    struct mqtt_properties properties;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
struct mqtt_ack {
    uint16_t packet_id;
    uint8_t reason; /* MQTT_SUCCESS in 3.x */
    struct mqtt_properties properties;
};

/* SUBSCRIBE, UNSUBSCRIBE. */
struct mqtt_subscribe {
    uint16_t packet_id;
    struct mqtt_properties properties;
    struct str filters; /* encoded: mqtt_next_subscription, mqtt_next_filter; mqtt_put_subscription, mqtt_put_filter */
};

struct mqtt_subscription {
    struct str filter; /* as sent */
    struct str share;  /* the name in `$share/name/filter`; data == NULL when it is not shared */
    struct str topics; /* the filter that topics are matched with: `filter` without its share */
    uint8_t qos;
    bool no_local, retain_as_published; /* false in 3.x */
    uint8_t retain_handling;            /* 0 send, 1 send if new, 2 do not send; 0 in 3.x */
};

/* SUBACK, UNSUBACK. */
struct mqtt_suback {
    uint16_t packet_id;
    struct mqtt_properties properties;
    struct str reasons; /* a byte each, in the order of the filters; none in a UNSUBACK of 3.x */
};

/* DISCONNECT, AUTH. */
struct mqtt_notice {
    uint8_t reason;
    struct mqtt_properties properties;
};

struct mqtt_packet {
    enum mqtt_type type;
    union {
        struct mqtt_connect connect;
        struct mqtt_connack connack;
        struct mqtt_publish publish;
        struct mqtt_ack ack;
        struct mqtt_subscribe subscribe;
        struct mqtt_suback suback;
        struct mqtt_notice notice;
    } as;
};

/*
 * Reads one whole packet (what mqtt_frame found; anything else is MQTT_RULE_NOT_WHOLE). On failure `out` is undefined,
 * but for the type, and for the version of a CONNECT: it is the form to answer in, MQTT_UNKNOWN where that is not known.
 */
enum mqtt_rule mqtt_decode(struct str packet, const struct mqtt_limits *limits, struct mqtt_packet *out);

/* As mqtt_decode, and says how many bytes of the packet had been read when the rule was broken. */
enum mqtt_rule mqtt_decode_at(struct str packet, const struct mqtt_limits *limits, struct mqtt_packet *out,
                              size_t *broken_at);

/*
 * The next filter of a packet that was decoded in this version. `rest` begins as subscribe.filters; false at the end.
 */
bool mqtt_next_subscription(struct str *rest, enum mqtt_version version, struct mqtt_subscription *out);
bool mqtt_next_filter(struct str *rest, struct str *filter);

/* What the other end takes from us. */
struct mqtt_target {
    enum mqtt_version version;
    uint32_t max_packet_size;    /* bytes; its Maximum Packet Size, or MQTT_PACKET_MAX */
    bool no_problem_information; /* its Request Problem Information was 0 */
};

/*
 * Writes the packet to `to` when its size is at most `room`, and returns the size either way (`to` may be NULL with 0).
 * To fit into max_packet_size, answers lose their user properties first and their reason string next; without problem
 * information, those other than CONNACK and DISCONNECT lose both ([MQTT-3.1.2-29]). 0: the packet cannot be sent to that
 * target: it is too large, or its version has no words for it (a CONNACK for which 3.x has no return code, AUTH in 3.x,
 * anything in MQTT_UNKNOWN).
 */
size_t mqtt_encode(const struct mqtt_packet *packet, const struct mqtt_target *target, void *to, size_t room);

/* The same, appended to a buffer; false as well when the buffer is at its maximum. */
bool mqtt_encode_buf(const struct mqtt_packet *packet, const struct mqtt_target *target, struct buf *to);

/*
 * An acknowledgement (PUBACK, PUBREC, PUBREL, PUBCOMP) without properties, the hot path of QoS 1 and 2. Returns its
 * bytes; a reason code is left out in 3.x and when it is MQTT_SUCCESS.
 */
enum { MQTT_ACK_MAX = 5 };
size_t mqtt_encode_ack(enum mqtt_type type, enum mqtt_version version, uint16_t packet_id, uint8_t reason,
                       uint8_t to[MQTT_ACK_MAX]);

/* Encodes one filter for subscribe.filters at `to` (NULL: only measures) and returns its bytes; 0: above 65,535. */
size_t mqtt_put_subscription(const struct mqtt_subscription *subscription, enum mqtt_version version, void *to);
size_t mqtt_put_filter(struct str filter, void *to);

#endif
