/* agent/broker/handle_disconnect.c: DISCONNECT and AUTH from a client (MQTT 5 sections 3.14, 3.15). */
#include "agent/broker/parts.h"

void handle_disconnect(struct connection *connection, const struct mqtt_notice *notice) {
    struct session *session = connection->session;
    bool changes = mqtt_has(&notice->properties, session_expiry_s);
    uint32_t expiry_s = notice->properties.session_expiry_s;

    if (changes && session->expiry_s == 0 && expiry_s != 0) { /* section 3.14.2.2.2 */
        connection_end(connection, END_PROTOCOL, MQTT_PROTOCOL_ERROR);
        return;
    }
    if (changes)
        session_set_expiry(session, expiry_s);
    connection_end(connection, notice->reason == MQTT_SUCCESS ? END_NORMAL : END_WITH_WILL, 0);
}

/* No enhanced authentication was begun, so there is none to go on with ([MQTT-4.12.0-6]). */
void handle_auth(struct connection *connection, const struct mqtt_notice *notice) {
    (void)notice;
    connection_end(connection, END_PROTOCOL, MQTT_PROTOCOL_ERROR);
}
