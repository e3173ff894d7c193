/*
 * agent/mqtt_packet/frame.h: where a packet ends in a stream of bytes. Nothing behind the fixed header is looked at, so
 * that a connection knows from at most five bytes whether it wants the rest.
 */
#ifndef HELIOGRAF_MQTT_PACKET_FRAME_H
#define HELIOGRAF_MQTT_PACKET_FRAME_H

#include "agent/base/str.h"
#include "agent/mqtt_packet/rules.h"

enum {
    MQTT_HEADER_MAX = 5,                 /* bytes of the longest fixed header */
    MQTT_REMAINING_MAX = 268435455,      /* the largest Remaining Length (table 2-4 of 3.1.1, 1-1 of 5.0) */
    MQTT_PACKET_MAX = 268435455 + 5,
    MQTT_FIRST_PACKET_MAX = 100000,      /* bytes that a stranger may send: a CONNECT, bounded as Mosquitto bounds it */
};

/*
 * What this end of a connection takes from the other end. A connection keeps one and changes it as it comes to know the
 * client. A server begins with MQTT_LIMITS_SERVER; once the CONNECT is accepted it sets `version`, `accepts` to
 * MQTT_FROM_CLIENT and max_packet_size to the size that its CONNACK announces.
 */
struct mqtt_limits {
    enum mqtt_version version; /* MQTT_UNKNOWN until the CONNECT is accepted */
    uint32_t accepts;          /* packet types that may come now */
    uint32_t max_packet_size;  /* bytes, fixed header included */
    uint16_t topic_levels;     /* of a topic name or filter; 0: as many as fit */
    uint16_t topic_alias_maximum;
    uint8_t maximum_qos;       /* of a PUBLISH or will */
    bool retain_available;
    bool check_payload; /* refuse a payload that says it is UTF-8 and is not */
    bool from_server;   /* the other end is the server: we are its client */
};

#define MQTT_LIMITS_SERVER                                                                                             \
    { .accepts = MQTT_IN(CONNECT), .max_packet_size = MQTT_FIRST_PACKET_MAX, .topic_levels = 128, .maximum_qos = 2,    \
      .retain_available = true }
#define MQTT_LIMITS_CLIENT(protocol)                                                                                   \
    { .version = (protocol), .accepts = MQTT_IN(CONNACK) | MQTT_IN(AUTH), .max_packet_size = MQTT_PACKET_MAX,          \
      .maximum_qos = 2, .retain_available = true, .from_server = true }

enum mqtt_frame_state {
    MQTT_FRAME_MORE,   /* the packet goes on behind these bytes */
    MQTT_FRAME_WHOLE,  /* the first `size` bytes are a packet */
    MQTT_FRAME_BROKEN, /* close the connection: `rule` says why */
};

struct mqtt_frame {
    enum mqtt_frame_state state;
    enum mqtt_rule rule;
    enum mqtt_type type; /* known from the first byte on */
    uint8_t header;      /* bytes of the fixed header; 0 while its length is not known */
    uint32_t size;       /* WHOLE: of the packet. MORE: at least so many bytes of it must be there to go on; of a known
                            length never more than max_packet_size */
};

/* Looks at the packet at the start of `stream`, which may hold less than one or more than one. */
struct mqtt_frame mqtt_frame(struct str stream, const struct mqtt_limits *limits);

#endif
