/* agent/broker/handle_acks.c: PUBACK, PUBREC and PUBCOMP from a client, for messages that we sent it (MQTT 5 sections 3.4, 3.5, 3.7). */
#include "agent/broker/parts.h"

static void send_pubrel(struct connection *connection, uint16_t packet_id, uint8_t reason) {
    uint8_t bytes[MQTT_ACK_MAX];
    size_t len = mqtt_encode_ack(MQTT_PUBREL, connection->target.version, packet_id, reason, bytes);

    connection_send_bytes(connection, bytes, len);
}

void handle_acknowledged(struct connection *connection, enum mqtt_type type, const struct mqtt_ack *ack) {
    struct session *session = connection->session;

    switch (outbox_acknowledged(session, type, ack->packet_id, ack->reason)) {
    case OUTBOX_KNOWN:
        outbox_pump(session);
        break;
    case OUTBOX_UNKNOWN:
        /* A state that we have lost, or they have: PUBREC must be answered, the others are the end of something (table in 4.3.3). */
        if (type == MQTT_PUBREC && ack->reason < MQTT_UNSPECIFIED_ERROR)
            send_pubrel(connection, ack->packet_id, connection->target.version == MQTT_5 ? MQTT_PACKET_ID_NOT_FOUND : MQTT_SUCCESS);
        break;
    case OUTBOX_WRONG_STATE:
        connection_end(connection, END_PROTOCOL, MQTT_PROTOCOL_ERROR);
        break;
    }
}
