/* agent/broker/will.c: last wills (MQTT 5 section 3.1.2.5): kept with the session, published when the connection ends badly, or a while after. */
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
    parts.properties = str_make(forwarded, mqtt_forwarded_properties(&from->properties, forwarded));
    session->will.publication = publication_new(&parts);
    session->will.delay_s = from->properties.will_delay_s;
    session->will.expiry_s = mqtt_has(&from->properties, message_expiry_s) ? from->properties.message_expiry_s : 0;
    session->will.expires = mqtt_has(&from->properties, message_expiry_s);
    if (forwarded != small)
        free(forwarded);
    return session->will.publication != NULL;
}

void will_clear(struct session *session) {
    stored_will_gone(session);
    publication_unref(session->will.publication);
    session->will = (struct will){ .publication = NULL };
}

/* It is published now, so now its expiry begins to count. */
void will_publish(struct session *session) {
    struct broker *broker = session->broker;
    const struct will will = session->will;
    struct publication *publication = will.publication;

    if (publication == NULL)
        return;
    publication_ref(publication);
    will_clear(session);
    publication->published_ns = clock_real_ns();
    publication->expires_ns = will.expires ? publication->published_ns + will.expiry_s * NS_PER_S : 0;
    if (access_allows(broker, ACL_PUBLISH, session, publication->topic)) /* rules may have changed since CONNECT */
        route_publication(broker, publication, publication->retain);
    else
        metric_add(&broker->figures.denied_publish, 1);
    publication_unref(publication);
}
