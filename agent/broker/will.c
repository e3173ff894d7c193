/*
 * agent/broker/will.c: last wills (MQTT 5 section 3.1.2.5): kept with the session, published when the connection ends badly, or a while after. A will
 * on `$delayed/...` waits from then on as any message does, which gives clients of MQTT 3.x a will delay.
 */
#include <stdlib.h>

#include "agent/broker/parts.h"

bool will_set(struct session *session, const struct mqtt_connect *connect) {
    const struct mqtt_will *from = &connect->will;
    char small[256], *forwarded = from->properties.encoded.len <= sizeof small ? small : malloc(from->properties.encoded.len);
    struct publication_parts parts = {
        .topic = from->topic,
        .payload = from->payload,
        .client_id = session_client_id(session),
        .user = session_user(session),
        .qos = from->qos,
        .retain = from->retain,
    };

    if (forwarded == NULL)
        return false;
    if (mqtt_has(&from->properties, message_expiry_s))
        parts.expires_ns = -1 - from->properties.message_expiry_s * NS_PER_S;
    parts.properties = str_make(forwarded, mqtt_forwarded_properties(&from->properties, forwarded));
    session->will.publication = publication_new(&parts);
    session->will.delay_s = from->properties.will_delay_s;
    if (forwarded != small)
        free(forwarded);
    return session->will.publication != NULL;
}

void will_clear(struct session *session) {
    stored_will_gone(session);
    publication_unref(session->will.publication);
    session->will = (struct will){ .publication = NULL };
}

bool will_is_allowed(struct broker *broker, struct str topic, struct str user, struct str client_id, uint8_t *reason) {
    int64_t due_ns;

    if (delayed_is(topic) && !delayed_parse(broker, topic, clock_real_ns(), &topic, &due_ns, reason))
        return false;
    *reason = MQTT_NOT_AUTHORIZED;
    return acl_allows(broker->acl, ACL_PUBLISH, user, client_id, topic);
}

static void delay(struct broker *broker, const struct publication *will, struct str topic, int64_t due_ns) {
    const struct publication_parts parts = {
        .topic = topic,
        .payload = will->payload,
        .properties = will->properties,
        .client_id = will->client_id,
        .user = will->user,
        .qos = will->qos,
        .retain = will->retain,
        .expires_ns = will->expires_ns,
        .published_ns = will->published_ns,
    };
    struct publication *publication = publication_new(&parts);

    if (publication == NULL || delayed_add(broker, publication, due_ns) == DELAYED_FULL)
        metric_add(&broker->figures.dropped_quota, 1);
    publication_unref(publication);
}

/* As it is published: with the time of now, from which its expiry counts. One of its own, as the store's thread may be reading the other. */
static struct publication *stamped(const struct publication *will) {
    int64_t now_ns = clock_real_ns();
    const struct publication_parts parts = {
        .topic = will->topic,
        .payload = will->payload,
        .properties = will->properties,
        .client_id = will->client_id,
        .user = will->user,
        .qos = will->qos,
        .retain = will->retain,
        .expires_ns = will->expires_ns < 0 ? now_ns - 1 - will->expires_ns : will->expires_ns,
        .published_ns = now_ns,
    };

    return publication_new(&parts);
}

/* Rules may have changed since CONNECT. */
void will_publish(struct session *session) {
    struct broker *broker = session->broker;
    struct publication *publication;
    struct str topic;
    int64_t due_ns;
    uint8_t reason;

    if (session->will.publication == NULL)
        return;
    publication = stamped(session->will.publication);
    will_clear(session);
    if (publication == NULL) {
        metric_add(&broker->figures.dropped_quota, 1);
        return;
    }
    topic = publication->topic;
    if (!will_is_allowed(broker, topic, session_user(session), session_client_id(session), &reason))
        metric_add(&broker->figures.denied_publish, 1);
    else if (delayed_is(topic) && delayed_parse(broker, topic, publication->published_ns, &topic, &due_ns, &reason))
        delay(broker, publication, topic, due_ns);
    else
        route_publication(broker, publication, publication->retain);
    publication_unref(publication);
}
