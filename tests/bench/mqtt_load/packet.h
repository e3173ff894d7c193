/*
 * tests/bench/mqtt_load/packet.h: just enough of MQTT 3.1, 3.1.1 and 5.0 for a load generator: packets that a client sends, and the frame of those
 * that it gets. Written apart from the agent's own codec on purpose, so that the two can disagree.
 */
#ifndef MQTT_LOAD_PACKET_H
#define MQTT_LOAD_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum packet_type {
    PACKET_CONNECT = 1, PACKET_CONNACK, PACKET_PUBLISH, PACKET_PUBACK, PACKET_PUBREC, PACKET_PUBREL, PACKET_PUBCOMP, PACKET_SUBSCRIBE,
    PACKET_SUBACK, PACKET_UNSUBSCRIBE, PACKET_UNSUBACK, PACKET_PINGREQ, PACKET_PINGRESP, PACKET_DISCONNECT, PACKET_AUTH,
};

/* Bytes that wait: data[at..len). Zeroed: empty. */
struct bytes {
    uint8_t *data;
    size_t at, len, cap;
};

void bytes_release(struct bytes *bytes);
uint8_t *bytes_grow(struct bytes *bytes, size_t more); /* room for so many at the end, to be filled; ends the program without memory */
void bytes_add(struct bytes *bytes, const void *data, size_t len);

struct packet_connect {
    unsigned version; /* 3: 3.1, 4: 3.1.1, 5: 5.0 */
    const char *client_id, *user, *password; /* user, password: NULL for none */
    unsigned keep_alive_s;
    bool clean;
    uint32_t session_expiry_s; /* 5.0 only */
};

/* Each appends one packet. `topic` and `client_id` must fit MQTT's 65,535 bytes: the options see to that. */
void packet_add_connect(struct bytes *out, const struct packet_connect *connect);
void packet_add_subscribe(struct bytes *out, unsigned version, uint16_t id, const char *filter, unsigned qos);
/* Returns the place for `size` bytes of payload, valid until the next call with `out`. */
uint8_t *packet_add_publish(struct bytes *out, unsigned version, const char *topic, size_t topic_len, unsigned qos, bool retain, uint16_t id,
                            size_t size);
void packet_add_answer(struct bytes *out, enum packet_type type, uint16_t id); /* PUBACK, PUBREC, PUBREL, PUBCOMP: success */
void packet_add_empty(struct bytes *out, enum packet_type type);               /* PINGREQ, DISCONNECT */

/* A packet as it stands in the reader's buffer. */
struct packet {
    unsigned type, flags;
    const uint8_t *body;
    size_t body_len, whole_len;
};

enum packet_found { PACKET_PARTIAL, PACKET_WHOLE, PACKET_BROKEN };
/* `whole_len` is set as soon as it is known (0 before), the rest with a whole packet. */
enum packet_found packet_find(const uint8_t *data, size_t len, struct packet *packet);

struct packet_publish {
    unsigned qos;
    bool duplicate;
    uint16_t id; /* 0 at QoS 0 */
    const uint8_t *payload;
    size_t payload_len;
};

/* Each returns false for a packet that is too short or has a field that cannot be. Reason codes of 3.1 and 3.1.1 are the return codes. */
bool packet_read_publish(const struct packet *packet, unsigned version, struct packet_publish *publish);
/* `receive_maximum` is left as it is when the broker does not name one. */
bool packet_read_connack(const struct packet *packet, unsigned version, bool *session_present, unsigned *reason, unsigned *receive_maximum);
bool packet_read_suback(const struct packet *packet, unsigned version, unsigned *reason);
bool packet_read_answer(const struct packet *packet, unsigned version, uint16_t *id, unsigned *reason);

#endif
