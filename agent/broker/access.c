/* agent/broker/access.c: who a client is, and what it may do. */
#include "agent/broker/parts.h"

/* The certificate speaks for the client where the listener says so. */
static struct str certified_name(const struct connection *connection) {
    const struct listener_options *options = connection->listener;
    bool used = options->has_tls && (options->tls.use_identity_as_username || options->tls.use_subject_as_username);

    return used ? transport_peer(connection->transport)->certificate_name : STR_EMPTY;
}

static void on_checked(void *ctx, bool good) {
    struct connection *connection = ctx;

    connection->login = NULL;
    connection->login_answer = good ? LOGIN_GOOD : LOGIN_BAD;
    connection->state = CONNECTION_NEW;
    connection_resume(connection);
}

static enum access check_later(struct connection *connection, const struct mqtt_connect *connect) {
    struct broker *broker = connection->broker;

    connection->login = login_begin(broker->logins, broker->passwords, connect->user_name, connect->password, on_checked, connection);
    if (connection->login == NULL)
        return ACCESS_BAD_PASSWORD;
    connection->state = CONNECTION_CHECKING;
    transport_pause(connection->transport);
    return ACCESS_LATER;
}

static enum access check_password(struct connection *connection, const struct mqtt_connect *connect) {
    struct broker *broker = connection->broker;
    bool good;

    if (!connect->has_password)
        return ACCESS_BAD_PASSWORD;
    if (connection->login_answer == LOGIN_UNKNOWN && passwords_is_slow(broker->passwords, connect->user_name))
        return check_later(connection, connect);
    good = connection->login_answer != LOGIN_UNKNOWN ? connection->login_answer == LOGIN_GOOD
                                                     : passwords_check(broker->passwords, connect->user_name, connect->password);
    return good ? ACCESS_GRANTED : ACCESS_BAD_PASSWORD;
}

enum access access_login(struct connection *connection, const struct mqtt_connect *connect, struct str *user) {
    const struct broker *broker = connection->broker;
    struct str name = certified_name(connection);

    *user = name;
    if (name.len > 0)
        return ACCESS_GRANTED;
    if (connect->has_user_name && broker->passwords != NULL) {
        *user = connect->user_name;
        return check_password(connection, connect);
    }
    /* Without a password file a name is only a name, as with Mosquitto. */
    if (connect->has_user_name)
        *user = connect->user_name;
    if (broker->settings->allow_anonymous || connection->listener->allow_anonymous)
        return ACCESS_GRANTED;
    return broker->passwords == NULL && listener_is_loopback(connection->listener) ? ACCESS_GRANTED : ACCESS_DENIED;
}

/* What it was once allowed to publish, and waits: rules may have changed. The broker's own is always. */
bool access_still_allows(const struct broker *broker, const struct publication *publication) {
    return publication->client_id.len == 0 || acl_allows(broker->acl, ACL_PUBLISH, publication->user, publication->client_id, publication->topic);
}

bool access_allows(const struct broker *broker, enum acl_action action, const struct session *session, struct str topic) {
    return acl_allows(broker->acl, action, session_user(session), session_client_id(session), topic);
}
