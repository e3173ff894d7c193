/* agent/broker/options.h: what the section `broker:` says, and its checks. */
#ifndef HELIOGRAF_BROKER_OPTIONS_H
#define HELIOGRAF_BROKER_OPTIONS_H

#include "agent/broker/acl.h"
#include "agent/broker/listener.h"

enum queue_full { QUEUE_DROP_NEWEST, QUEUE_DROP_OLDEST, QUEUE_DISCONNECT };
enum share_strategy { SHARE_ROUND_ROBIN, SHARE_SENDER_HASH, SHARE_STICKY };

struct persistence_settings {
    bool enabled;
    char *directory;
    bool sync;
    int64_t group_ns;
    uint64_t max_bytes;
};

struct broker_settings {
    struct cfg_objects listeners; /* of struct listener_options */
    bool allow_anonymous;
    char *password_file, *acl_file;
    struct cfg_objects acl; /* of rules, acl.h */
    struct persistence_settings persistence;

    int64_t max_connections, max_connect_rate, max_sessions; /* 0: no limit, but for sessions */
    int64_t connect_timeout_ns, packet_timeout_ns;
    int64_t max_keepalive_s;
    uint64_t max_packet_size;
    int64_t max_topic_levels, max_topic_alias, max_subscriptions, max_qos;
    int64_t receive_maximum;            /* of ours: unanswered QoS 1 and 2 messages of a client */
    int64_t max_inflight_messages;      /* to a client */
    int64_t max_queued_messages;
    uint64_t max_queued_bytes, max_output_bytes;
    int queue_full; /* enum queue_full */
    int64_t max_session_expiry_ns;
    int share_strategy;
    bool retain_available;
    int64_t max_retained_messages;
    uint64_t max_retained_bytes;
    int64_t max_delayed_messages;
    uint64_t max_delayed_bytes;
    int64_t max_delay_ns;
    uint64_t memory_limit; /* of queued, retained and delayed messages together; 0: none */
    int64_t sys_interval_ns;
    bool client_events, subscription_events, presence;
    bool check_payload_format;
    bool mosquitto_compat;
    char *node; /* in EMQX's topics */
};

struct yaml_node;
/* What the table cannot say. `map` is for the places of complaints. */
bool broker_settings_check(const struct broker_settings *settings, const struct yaml_node *map, struct diags *diags);

#endif
