/*
 * agent/broker/parts.h: the inside of the broker, shared by the files that make it up. All of it belongs to the loop's thread, but for the
 * figures (atomic) and what broker.c says of itself. Nobody else includes this.
 *
 *   broker.c        life, rounds, timers                   connection.c  bytes to packets, sending, closing
 *   handle_*.c      one file per packet from a client      session.c     who is known; resuming, ending, expiring
 *   outbox.c        what a session is owed                 answers.c     what waits for the disk
 *   routing.c       who gets a message                     retain.c      retained messages, set and sent
 *   will.c          last wills                             delayed.c     $delayed/...
 *   access.c        passwords and rules                    sys_topics.c, client_events.c, presence.c
 *   restore.c       the state at the start                 admin.c       clients listed and kicked
 */
#ifndef HELIOGRAF_BROKER_PARTS_H
#define HELIOGRAF_BROKER_PARTS_H

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/broker/broker.h"
#include "agent/broker/login.h"
#include "agent/broker/options.h"
#include "agent/broker/passwords.h"
#include "agent/broker/publication.h"
#include "agent/broker/remembered.h"
#include "agent/broker/retained.h"
#include "agent/broker/store.h"
#include "agent/broker/topic_tree.h"
#include "agent/broker/wheel.h"
#include "agent/mqtt_packet/delivery.h"
#include "agent/mqtt_packet/packet.h"

struct connection;
struct session;

/* ---- who gets messages --------------------------------------------------------------------------------------------- */

/* What the topic tree calls a subscriber. */
enum subscriber_kind { SUBSCRIBER_SESSION, SUBSCRIBER_INPUT };
struct subscriber {
    enum subscriber_kind kind;
    uint64_t met;   /* serial of the last message it was found for */
    size_t receiver; /* its place among the receivers then */
};

struct input {
    struct subscriber subscriber;
    struct input *next;
    unsigned number; /* bit of connection.inputs_done */
    struct broker_input terms;
    metric_counter received, refused;
};

/* ---- a session's debts --------------------------------------------------------------------------------------------- */

struct delivery {
    struct delivery *next;
    struct publication *publication;
    uint64_t number; /* of its row, when stored */
    uint64_t ticket; /* QoS 2, stored: its next packet waits until this is on disk */
    uint16_t packet_id;
    uint8_t qos;
    bool retain, stored;
    bool on_wire; /* sent on this connection; of those in the queue: will be */
    bool resent;  /* was sent on an earlier one: with DUP */
    enum delivery_state state;
    uint8_t ids_len;
    char ids[]; /* subscription identifiers, encoded */
};

struct delivery_list {
    struct delivery *first, *last;
    size_t count;
};

struct outbox {
    struct delivery_list queued;   /* never sent, in order */
    struct delivery_list inflight; /* sent and not done with, in the order of sending */
    uint64_t queued_bytes;         /* of publications */
    size_t on_wire;                /* in flight on this connection: against the client's receive maximum */
    uint16_t last_packet_id;
    bool pumping;
    bool resuming;                 /* in-flight ones of an earlier connection are to be sent first */
};

/* ---- sessions ------------------------------------------------------------------------------------------------------ */

/* A filter that the session subscribed to; the tree has it as well. */
struct subscription {
    struct subscription *next;
    struct subscription_terms terms;
    size_t share_len; /* 0: not shared */
    size_t len;
    char filter[];    /* as sent, `$share/name/` included */
};

struct retained_job {
    struct retained_job *next;
    struct retained_walk *walk;
    struct subscription_terms terms;
};

struct will {
    struct publication *publication; /* NULL: none */
    uint32_t delay_s;
    bool stored;
};

struct session {
    struct subscriber subscriber; /* first: the tree's pointer is the session's */
    struct session *next_in_bucket;
    struct broker *broker;
    struct connection *connection; /* NULL: offline */
    char *client_id, *user;        /* NUL-terminated as well */
    size_t client_id_len, user_len;
    uint64_t number;
    enum mqtt_version version;
    uint32_t expiry_s;
    bool stored;                   /* the store knows it */
    int64_t ended_ns;              /* real time; 0: connected */
    int64_t connected_ns;          /* real time of the last connect */
    struct wheel_entry timer;      /* offline: the will's delay, then the expiry */
    int64_t expires_at_ns, will_at_ns; /* monotonic; 0: never, none */
    struct will will;
    struct subscription *subscriptions;
    size_t subscription_count;
    struct outbox outbox;
    struct retained_job *retained_jobs, **last_retained_job;
    struct session *next_continued; /* of broker->continued */
    bool continued;
    uint16_t *received_ids;        /* QoS 2, from PUBLISH to PUBREL */
    size_t received_count, received_cap;
    size_t restored_count;         /* the first so many are of an earlier run */
    uint64_t dropped;              /* messages that it did not get: queue full, too large, expired */
};

/* ---- connections --------------------------------------------------------------------------------------------------- */

/* An answer that may have to wait: for the store, for the spool, or for another one before it. */
struct answer {
    struct answer *next;
    uint64_t ticket, sequence;
    struct message_origin origin; /* of the message that it acknowledges, when an input has taken it; id 0: none */
    struct delivery *delivery; /* a packet of this delivery instead of bytes; its session's */
    bool counts;               /* it ends a QoS 1 or 2 message of the client's */
    size_t len;
    char bytes[];
};

struct answers {
    struct answer *first, **last;
    size_t bytes; /* in memory */
};

/* What stands for topics, in one direction. */
struct alias_table {
    uint16_t maximum, used;
    struct str *topics; /* [alias - 1]; owned */
};

enum connection_state {
    CONNECTION_NEW,      /* before CONNECT */
    CONNECTION_CHECKING, /* the password is being looked at on another thread */
    CONNECTION_UP,
    CONNECTION_CLOSED,
};

/* Why a connection ended; the words are in EMQX's events and in presence points. */
enum end_reason {
    END_NORMAL, END_WITH_WILL, END_CLOSED, END_RESET, END_KEEPALIVE, END_TAKEN_OVER, END_KICKED, END_PROTOCOL, END_NOT_AUTHORIZED,
    END_TOO_SLOW, END_SHUTDOWN, END_TIMEOUT, END_LIMIT, END_INTERNAL, END_UNCLEAN, END_REASONS,
};

struct connection {
    struct broker *broker;
    struct connection *next, **link;
    const struct listener_options *listener;
    struct transport *transport; /* NULL: gone */
    struct session *session;     /* NULL: not accepted, or lost to another connection */
    enum connection_state state;
    struct mqtt_limits limits;
    struct mqtt_target target;
    struct wheel_entry timer;
    int64_t active_ns;           /* monotonic: last whole packet */
    int64_t packet_since_ns;     /* monotonic: a packet has begun and not ended; 0: none */
    struct login *login;         /* under way */
    enum { LOGIN_UNKNOWN, LOGIN_GOOD, LOGIN_BAD } login_answer;
    uint16_t keep_alive_s;
    uint16_t quota;              /* QoS 1 and 2 messages that the client takes at a time */
    uint16_t unanswered;         /* of the client's */
    uint64_t inputs_done;        /* bit per input that has the message at hand already, when another one refused it */
    uint64_t repeated;           /* hash of the last QoS 2 message that came again before its PUBREL */
    bool bridge;                 /* another broker's, by its word (3.x) */
    bool expects;                /* transport_expect was called */
    bool blocked, again;         /* an input has no room: reading goes on later, with the same packet again */
    bool held;                   /* too many answers wait: reading goes on when they have left */
    struct connection *next_blocked, **blocked_link; /* of broker->blocked; link NULL: not in it */
    struct answers answers;
    struct connection *next_waiting, **waiting_link; /* link NULL: nothing waits */
    struct connection *next_dead;
    bool ends_later;             /* and these say how */
    enum end_reason ends_why;
    uint8_t ends_reason;
    struct connection *next_ending;
    struct alias_table *aliases_in, *aliases_out;
    bool announced;              /* a presence point says that it is there */
    uint64_t announced_row;      /* and this row of the store, for when nobody can say that it ended; 0: none */
};

/* ---- the broker ---------------------------------------------------------------------------------------------------- */

struct broker_figures {
    metric_counter sockets_total, connections_total, connects_refused, sessions_expired, takeovers;
    metric_counter bytes_received, bytes_sent, packets_received, packets_sent; /* all packets */
    metric_counter publish_received, publish_sent, publish_bytes_received, publish_bytes_sent;
    metric_counter dropped_queue_full, dropped_qos0, dropped_too_large, dropped_expired, dropped_denied, dropped_quota, redeliveries;
    metric_counter protocol_errors, auth_failures, denied_publish, denied_subscribe;
    metric_counter ended[END_REASONS];
    metric_counter connected, sessions, subscriptions, shared_subscriptions, retained, retained_bytes, delayed, queued, queued_bytes, inflight; /* now */
    metric_counter connected_max;
};

struct receiver {
    struct subscriber *who;
    uint8_t qos;
    bool retain_as_published;
    uint16_t ids_len;
    uint32_t ids_at; /* in broker->receiver_ids */
};

struct delayed_heap {
    struct delayed_entry *entries;
    size_t count, cap;
    uint64_t bytes;
    uint64_t serial;
};

struct sys_topics;

struct broker {
    const struct broker_settings *settings;
    struct loop *loop;
    struct transports *transports;
    struct listener **listeners;
    size_t listener_count;
    struct passwords *passwords;
    struct logins *logins;
    struct acl *acl;
    struct store *store; /* NULL: nothing survives */
    struct topic_tree *tree;
    struct retained *retained;
    struct connection *connections;
    size_t connection_count;
    struct session **buckets;
    size_t bucket_count, session_count;
    uint64_t next_session, serial, assigned_ids;
    struct input *inputs;
    size_t input_count;
    struct message_sink presence;
    struct wheel wheel, session_wheel; /* of connections; of sessions that are offline */
    struct loop_timer *ticks;
    struct delayed_heap delayed;
    struct remembered remembered;
    struct sys_topics *sys;

    /* Of the message that is being routed. */
    struct receiver *receivers;
    size_t receiver_count, receiver_cap;
    struct buf receiver_ids;

    struct connection *waiting, *blocked, *dead, *ending;
    struct session *continued;
    struct event *continue_timer, *delayed_timer;
    bool giving;          /* sessions are being given messages: none may go meanwhile */
    struct event *round;
    bool round_ends;      /* something is to be done at the end of this round of the loop */
    bool taking, started;
    size_t open;          /* sockets, as last counted */
    bool touched;         /* the store was told a change since somebody set this to false */
    uint64_t store_durable;
    _Atomic uint64_t spool_durable;
    _Atomic bool spool_told;
    uint64_t held_bytes;  /* queued, retained and delayed publications: against memory_limit */
    int64_t started_ns, rate_since_ns;
    unsigned rate_count;
    struct complaint auth_trouble, denied_trouble, protocol_trouble, limit_trouble, queue_trouble, memory_trouble, store_trouble, full_trouble, rate_trouble;
    struct broker_figures figures;
};

/* What a packet's answer waits for. */
struct wait {
    uint64_t ticket, sequence; /* 0: nothing */
    struct message_origin origin; /* of the message, when an input has taken it */
};

/* ---- broker.c ------------------------------------------------------------------------------------------------------ */

/* At the end of this round of the loop: hands changes to the store, sends what waited for nothing. */
void broker_round(struct broker *broker);
/* A walk over retained messages goes on in the next round. */
void broker_continue(struct broker *broker, struct session *session);
void broker_discontinue(struct broker *broker, struct session *session); /* not waiting is fine */
/* The timer follows the earliest delayed message. */
void broker_schedule_delayed(struct broker *broker);
void broker_count_up(metric_counter *gauge);
void broker_count_down(metric_counter *gauge);
/* True: the publication's bytes may be kept; else memory_limit is reached. */
bool broker_may_hold(const struct broker *broker, uint64_t bytes);

/* ---- connection.c -------------------------------------------------------------------------------------------------- */

void connection_accept(void *broker, const struct listener_options *options, struct transport *transport);
/* Encodes and sends; a packet that the client's limit forbids is not sent: false. */
bool connection_send(struct connection *connection, const struct mqtt_packet *packet);
bool connection_send_bytes(struct connection *connection, const void *bytes, size_t len);
/* One message as a PUBLISH. False: not sent, because it is too large for the client, or the output is full. */
enum send_result { SEND_DONE, SEND_TOO_LARGE, SEND_FULL };
struct sending {
    uint8_t qos;
    bool retain, dup;
    uint16_t packet_id;
    struct str subscription_ids;
};
enum send_result connection_send_message(struct connection *connection, const struct mqtt_message *message, struct publication *owner,
                                         int64_t expires_ns, const struct sending *how);
/* Room for QoS 0 in the output, if need be after sending what is there. */
bool connection_has_room(struct connection *connection, size_t bytes);

/*
 * The end: tells the client where its version has words for it (`reason` 0: says nothing), publishes the will unless it is a normal end, leaves the
 * session, and closes. The connection is freed at the end of the round.
 */
void connection_end(struct connection *connection, enum end_reason why, uint8_t reason);
/* A rule was broken. */
void connection_break(struct connection *connection, enum mqtt_rule rule);
/* Reads no more until an input has room again: then, or when the broker tries again, the same packet is offered once more. */
void connection_block(struct connection *connection);
void connection_unblock(struct connection *connection); /* not blocked is fine */
/* Reads no more until it is released. */
void connection_hold(struct connection *connection);
void connection_release(struct connection *connection); /* not held is fine */
void connection_resume(struct connection *connection); /* after CHECKING, or when nothing stands in the way any more */
const char *end_reason_name(enum end_reason why);
void connection_free_dead(struct broker *broker);
void connection_free_all(struct broker *broker); /* at the very end */
/* Those whose end came while sessions were being given messages. */
void connection_end_late_ones(struct broker *broker);
/* When to look at the connection next. */
void connection_schedule(struct connection *connection);
void connection_on_timer(struct connection *connection, int64_t now_ns);

/* ---- handle_*.c: a whole packet of an accepted client. --------------------------------------------------------------- */

bool handle_connect(struct connection *connection, const struct mqtt_connect *connect); /* false: later, once more */
void handle_refusal(struct connection *connection, enum mqtt_version version, uint8_t reason); /* CONNACK, and the end */
/* False: an input had no room; the same packet is to be offered again when connection->blocked has ended. */
bool handle_publish(struct connection *connection, const struct mqtt_publish *publish);
void handle_pubrel(struct connection *connection, const struct mqtt_ack *ack);
void handle_acknowledged(struct connection *connection, enum mqtt_type type, const struct mqtt_ack *ack); /* PUBACK, PUBREC, PUBCOMP */
void handle_subscribe(struct connection *connection, const struct mqtt_subscribe *subscribe);
void handle_unsubscribe(struct connection *connection, const struct mqtt_subscribe *unsubscribe);
void handle_disconnect(struct connection *connection, const struct mqtt_notice *notice);
void handle_auth(struct connection *connection, const struct mqtt_notice *notice);

/* ---- access.c ------------------------------------------------------------------------------------------------------ */

enum access { ACCESS_GRANTED, ACCESS_BAD_PASSWORD, ACCESS_DENIED, ACCESS_LATER };
/* ACCESS_LATER: the password is being checked; the connection goes on with the same CONNECT when that is known. */
enum access access_login(struct connection *connection, const struct mqtt_connect *connect, struct str *user);
/* Its publisher might send it today. */
bool access_still_allows(const struct broker *broker, const struct publication *publication);
bool access_allows(const struct broker *broker, enum acl_action action, const struct session *session, struct str topic);

/* ---- session.c ----------------------------------------------------------------------------------------------------- */

bool sessions_init(struct broker *broker);
void sessions_release(struct broker *broker);
struct session *session_find(const struct broker *broker, struct str client_id);
/* NULL without memory. `number` 0: the next one. */
struct session *session_new(struct broker *broker, struct str client_id, struct str user, uint64_t number);
/* Its subscriptions, its debts, its will and itself; with its connection already gone. */
void session_free(struct session *session);
void session_set_expiry(struct session *session, uint32_t expiry_s);
void session_leave(struct session *session);        /* its connection is gone: goes offline, or ends */
void session_pause(struct session *session);        /* the broker stops: it goes on after the next start, and so does its will */
/* Offline since then, with a will to be published then (if there is one); monotonic. */
void session_wait(struct session *session, int64_t since_ns, int64_t will_at_ns);
void session_forget(struct session *session);       /* as session_free, and the store and the will's receivers hear nothing of it */
void session_store_all(struct session *session);
void session_clear_stored_debts(struct session *session);
void session_on_timer(struct session *session, int64_t now_ns);
struct str session_client_id(const struct session *session);
struct str session_user(const struct session *session);

enum session_subscribed { SUBSCRIBED_NEW, SUBSCRIBED_AGAIN, SUBSCRIBED_NO_MEMORY };
enum session_subscribed session_subscribe(struct session *session, const struct mqtt_subscription *subscription,
                                          const struct subscription_terms *terms);
bool session_has_subscription(const struct session *session, struct str filter);
bool session_unsubscribe(struct session *session, struct str filter);
void session_clear_subscriptions(struct session *session);

bool session_has_received(const struct session *session, uint16_t packet_id);
bool session_add_received(struct session *session, uint16_t packet_id); /* false without memory */
/* Of an earlier run, which may have got it into the store and not into the spool. */
bool session_is_restored(const struct session *session, uint16_t packet_id);
void session_forget_restored(struct session *session, uint16_t packet_id);
bool session_remove_received(struct session *session, uint16_t packet_id);

/* ---- outbox.c ------------------------------------------------------------------------------------------------------ */

void outbox_init(struct outbox *outbox);
/* A message for the session, with the QoS that it gets. Sends it, keeps it, or drops it and counts that. */
struct owed {
    uint8_t qos;
    bool retain;
    struct str subscription_ids;
};
void outbox_add(struct session *session, struct publication *publication, const struct owed *how);
/* QoS 0 to a client that is connected. With an owner the bytes are its: output that waits refers to them. Without one they are copied. */
void outbox_send_at_once(struct session *session, const struct mqtt_message *message, struct publication *owner, int64_t expires_ns,
                         const struct owed *how);
/* Sends what may be sent now. */
void outbox_pump(struct session *session);
void outbox_resume(struct session *session);   /* a new connection: in-flight ones first, as they were */
void outbox_suspend(struct session *session);  /* its connection is gone */
enum outbox_ack { OUTBOX_KNOWN, OUTBOX_UNKNOWN, OUTBOX_WRONG_STATE };
enum outbox_ack outbox_acknowledged(struct session *session, enum mqtt_type type, uint16_t packet_id, uint8_t reason);
void outbox_clear(struct session *session);
void outbox_store_all(struct session *session); /* the session has become one that the store keeps */
void outbox_unstore_all(struct session *session); /* or is one no more */
/* From the store. */
bool outbox_restore(struct session *session, const struct stored_delivery *stored, struct publication *publication);
/* The packet that an answer stands for: a QoS 2 PUBLISH or a PUBREL that waited for the disk. */
void outbox_send_waiting(struct session *session, struct delivery *delivery);

/* ---- answers.c ----------------------------------------------------------------------------------------------------- */

/* Sends it now, or when what it waits for, and every answer before it, is through. */
void answers_send(struct connection *connection, struct wait wait, const void *bytes, size_t len, bool counts);
void answers_send_delivery(struct connection *connection, uint64_t ticket, struct delivery *delivery);
void answers_flush(struct broker *broker); /* after something became durable */
void answers_forget(struct connection *connection);
void answers_forget_delivery(struct connection *connection, const struct delivery *delivery);
/* What waits for the changes since broker->touched was set to false; 0: there were none. */
uint64_t answers_ticket(const struct broker *broker);

/* ---- stored.c: the store's ears, and the count of who refers to a publication there. All do nothing without a store. ---- */

void stored_delivery(struct session *session, struct delivery *delivery);
void stored_delivery_changed(struct session *session, struct delivery *delivery);
void stored_delivery_done(struct session *session, struct delivery *delivery);
void stored_retained(struct broker *broker, struct publication *publication);
void stored_retained_gone(struct broker *broker, struct publication *publication);
void stored_delayed(struct broker *broker, struct publication *publication, int64_t due_ns);
void stored_delayed_gone(struct broker *broker, struct publication *publication);
void stored_session(struct session *session);
void stored_session_gone(struct session *session);
void stored_will_gone(struct session *session);
void stored_subscription(struct session *session, struct str filter, const struct subscription_terms *terms);
void stored_subscription_gone(struct session *session, struct str filter);
void stored_received(struct session *session, uint16_t packet_id);
void stored_received_gone(struct session *session, uint16_t packet_id);

/* ---- routing.c ----------------------------------------------------------------------------------------------------- */

/* A message on its way; borrowed. */
struct routed {
    struct mqtt_message message;
    uint8_t qos;
    bool retain, dup;
    int64_t expires_ns, published_ns;
    const struct session *publisher; /* NULL: the broker, or one who is gone */
    struct str client_id, user;      /* the publisher's */
    uint16_t packet_id;              /* the publisher's */
    struct publication *owner;       /* when there is one already; NULL */
    const struct mqtt_properties *properties; /* decoded; NULL */
    bool inputs_only;                /* sessions have it already */
    bool sender_can_wait;            /* it comes from a connection, which can be held up at QoS 0 as well */
};
enum route_result { ROUTED, ROUTED_NOBODY, ROUTED_FULL, ROUTE_BLOCKED };
/*
 * Gives it to inputs first, then to sessions, and sets it as retained when it says so. `*sequence` becomes what inputs wait for. ROUTE_BLOCKED: an input
 * has no room and `inputs_done` says which have it already, or the store is full (then none has); nobody else has got it.
 */
enum route_result route(struct broker *broker, const struct routed *routed, uint64_t *inputs_done, struct wait *wait);
/* What becomes of a client's message that needs rows while the store is full: ROUTE_BLOCKED or ROUTED_FULL. */
enum route_result route_without_room(const struct routed *routed);
/* A message of the broker's own: $SYS and events. Nothing waits for it. */
void route_publication(struct broker *broker, struct publication *publication, bool retain);
void route_own(struct broker *broker, struct str topic, struct str payload, uint8_t qos, bool retain);
struct message_origin routed_origin(const struct routed *routed); /* id 0 at QoS 0 */
struct publication *routed_keep(const struct routed *routed); /* one reference; NULL without memory */

/* ---- retain.c ------------------------------------------------------------------------------------------------------ */

enum retain_result { RETAIN_DONE, RETAIN_FULL };
enum retain_result retain_set(struct broker *broker, struct publication *publication);
/* After a SUBSCRIBE: what matches is sent in pieces, from the loop. */
void retain_begin(struct session *session, struct str filter, const struct subscription_terms *terms);
void retain_go_on(struct session *session);
void retain_forget(struct session *session);
void retain_give_input(struct broker *broker, struct input *input, struct str filter);
void retain_sweep(struct broker *broker);

/* ---- will.c, delayed.c --------------------------------------------------------------------------------------------- */

bool will_set(struct session *session, const struct mqtt_connect *connect);
void will_clear(struct session *session);
void will_publish(struct session *session);
/* False: what to say to a client that wants a will on that topic. */
bool will_is_allowed(struct broker *broker, struct str topic, struct str user, struct str client_id, uint8_t *reason);

/* True: the topic is `$delayed/...` or `$delay/...`. */
bool delayed_is(struct str topic);
/* Reads the prefix: the inner topic and when it is due (real time). False: what is wrong as a reason code. */
bool delayed_parse(const struct broker *broker, struct str topic, int64_t now_ns, struct str *inner, int64_t *due_ns, uint8_t *reason);
enum delayed_result { DELAYED_KEPT, DELAYED_FULL };
enum delayed_result delayed_add(struct broker *broker, struct publication *publication, int64_t due_ns);
bool delayed_restore(struct broker *broker, struct publication *publication, int64_t due_ns);
int64_t delayed_next_ns(const struct broker *broker); /* real time; 0: none waits */
void delayed_publish_due(struct broker *broker, int64_t now_ns);
void delayed_release(struct broker *broker);

/* ---- sys_topics.c, client_events.c, presence.c, restore.c ------------------------------------------------------------- */

bool sys_topics_init(struct broker *broker);
void sys_topics_release(struct broker *broker);
void sys_topics_tick(struct broker *broker, int64_t now_ns);

void client_event_connected(struct connection *connection, const struct mqtt_connect *connect);
void client_event_disconnected(struct connection *connection, enum end_reason why);
void client_event_subscribed(struct session *session, struct str filter, const struct subscription_terms *terms);
void client_event_unsubscribed(struct session *session, struct str filter);

void presence_connected(struct connection *connection);
void presence_disconnected(struct connection *connection, enum end_reason why); /* once, if it was announced */
/* Of a connection that ended with an earlier process; when and how is not known. */
void presence_was_lost(struct broker *broker, struct str client_id, struct str user);

/* Opens the store and takes over what is in it. */
bool restore_state(struct broker *broker, struct err *err);

#endif
