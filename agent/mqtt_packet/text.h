/*
 * agent/mqtt_packet/text.h: strings, topic names and topic filters (MQTT 5 sections 1.5.4, 4.7 and 4.8.2). Pure, no
 * recursion, linear in the bytes.
 */
#ifndef HELIOGRAF_MQTT_PACKET_TEXT_H
#define HELIOGRAF_MQTT_PACKET_TEXT_H

#include "agent/base/str.h"
#include "agent/mqtt_packet/rules.h"

/* What one look at every byte says. */
struct mqtt_text {
    enum mqtt_rule rule; /* MQTT_FINE: well-formed UTF-8 without U+0000, control characters and non-characters */
    bool wildcards;      /* has `+` or `#` */
    uint32_t slashes;
};

/*
 * The specification forbids ill-formed UTF-8, surrogates and U+0000, and lets a receiver choose about U+0001 to U+001F,
 * U+007F to U+009F, U+FDD0 to U+FDEF and the last two code points of each plane: like Mosquitto, we refuse them. A byte
 * order mark is a character like others ([MQTT-1.5.4-3]). After a broken rule the other members are not complete.
 */
struct mqtt_text mqtt_text(struct str text);

/*
 * A topic to publish on: MQTT_RULE_TOPIC_EMPTY, _WILDCARD or _LEVELS (more levels than `max_levels`, 0: no limit), or a
 * rule of mqtt_text.
 */
enum mqtt_rule mqtt_topic_rule(struct str topic, unsigned max_levels);

/*
 * A topic filter, with `$share/name/` before it or without, in every version: MQTT_RULE_FILTER_* and SHARE_*, or a rule
 * of mqtt_text. The levels of a shared one are counted behind its name.
 */
enum mqtt_rule mqtt_filter_rule(struct str filter, unsigned max_levels);

#endif
