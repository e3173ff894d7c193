/*
 * agent/commands/message_json.h: a message as one JSON object, in mosquitto_sub's form: tst, topic, qos, retain, payloadlen, mid,
 * properties, payload.
 */
#ifndef HELIOGRAF_COMMANDS_MESSAGE_JSON_H
#define HELIOGRAF_COMMANDS_MESSAGE_JSON_H

#include "agent/base/buf.h"
#include "agent/mqtt_client/client.h"

/*
 * Appends the object. `parsed`: the payload is JSON and becomes a part of it; false with `err` when it is not. Otherwise it is a
 * string; one that is not UTF-8 is in payload_hex instead, as JSON has no bytes.
 */
bool message_json_print(const struct mqtt_client_message *message, bool parsed, bool pretty, struct buf *out, struct err *err);

#endif
