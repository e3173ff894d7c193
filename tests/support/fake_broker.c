/* tests/support/fake_broker.c: see fake_broker.h. */
#include "tests/support/fake_broker.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int64_t fake_now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool fake_send(int fd, const void *data, size_t len) {
    const char *at = data;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd writable = { .fd = fd, .events = POLLOUT };
            poll(&writable, 1, 1000);
            continue;
        }
        if (sent <= 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

static size_t fake_put_length(unsigned char *out, size_t len) {
    size_t used = 0;

    do {
        out[used] = len & 0x7f;
        len >>= 7;
        if (len > 0)
            out[used] |= 0x80;
        used++;
    } while (len > 0);
    return used;
}

static const unsigned char *fake_get_length(const unsigned char *at, const unsigned char *end, size_t *len) {
    int shift = 0;

    *len = 0;
    while (at < end && shift < 28) {
        *len |= (size_t)(*at & 0x7f) << shift;
        shift += 7;
        if ((*at++ & 0x80) == 0)
            return at;
    }
    return NULL;
}

static unsigned fake_get16(const unsigned char *at) {
    return (unsigned)(at[0] << 8 | at[1]);
}

static uint32_t fake_get32(const unsigned char *at) {
    return (uint32_t)fake_get16(at) << 16 | fake_get16(at + 2);
}

/* Copies a length-prefixed text and returns what follows it. */
static const unsigned char *fake_text(const unsigned char *at, char *out, size_t size) {
    size_t len = fake_get16(at), used = len < size ? len : size - 1;

    memcpy(out, at + 2, used);
    out[used] = '\0';
    return at + 2 + len;
}

static void fake_close(struct fake_broker *b, int index) {
    if (b->links[index].fd < 0)
        return;
    close(b->links[index].fd);
    b->links[index].fd = -1;
    if (b->newest == index)
        b->newest = -1;
    b->closed_count++;
}

/* Only those that the agent sends: session expiry, receive maximum, maximum packet size. */
static void fake_connect_properties(struct fake_connect *connect, const unsigned char *at, size_t len) {
    const unsigned char *end = at + len;

    while (at < end) {
        switch (*at++) {
        case 17:
            connect->session_expiry = fake_get32(at);
            at += 4;
            break;
        case 33:
            connect->receive_maximum = fake_get16(at);
            at += 2;
            break;
        case 39:
            connect->maximum_packet = fake_get32(at);
            at += 4;
            break;
        default:
            return;
        }
    }
}

static void fake_on_connect(struct fake_broker *b, int index, const unsigned char *at, const unsigned char *end) {
    struct fake_link *link = &b->links[index];
    struct fake_connect *connect = &b->connects[b->connect_count % 256];
    unsigned char answer[128] = { 0x20 };
    size_t len = 0;
    unsigned flags;

    memset(connect, 0, sizeof *connect);
    at += 2 + fake_get16(at);
    connect->version = link->version = *at++;
    flags = *at++;
    connect->clean = (flags & 2) != 0;
    connect->keepalive_s = fake_get16(at);
    at += 2;
    if (link->version >= 5) {
        at = fake_get_length(at, end, &len);
        fake_connect_properties(connect, at, len);
        at += len;
    }
    at = fake_text(at, connect->client_id, sizeof connect->client_id);
    if (flags & 0x80)
        at = fake_text(at, connect->username, sizeof connect->username);
    if (flags & 0x40)
        fake_text(at, connect->password, sizeof connect->password);
    b->connect_count++;
    if (b->mute)
        return;
    if (link->version >= 5 && b->closes_v5) {
        fake_close(b, index);
        return;
    }
    if (link->version >= 5 && !b->old) {
        answer[1] = (unsigned char)(3 + b->connack_properties_len);
        answer[2] = b->session_present && b->refuse_code == 0;
        answer[3] = (unsigned char)b->refuse_code;
        answer[4] = (unsigned char)b->connack_properties_len;
        memcpy(answer + 5, b->connack_properties, b->connack_properties_len);
        len = 5 + b->connack_properties_len;
    } else {
        answer[1] = 2;
        answer[3] = link->version >= 5 ? 1 : (unsigned char)b->refuse_code;
        answer[2] = b->session_present && answer[3] == 0;
        len = 4;
    }
    fake_send(link->fd, answer, len);
    if (answer[3] != 0)
        fake_close(b, index);
    else
        b->newest = index;
}

static int fake_suback_code(const struct fake_broker *b, const char *filter, int asked) {
    for (size_t i = 0; i < b->suback_count; i++)
        if (strcmp(b->suback[i].filter, filter) == 0)
            return b->suback[i].code;
    return asked;
}

static void fake_on_subscribe(struct fake_broker *b, struct fake_link *link, const unsigned char *at,
                              const unsigned char *end) {
    unsigned char answer[FAKE_FILTERS + 8] = { 0x90, 0, at[0], at[1] };
    size_t len = 4, properties = 0;
    uint32_t identifier = 0;

    at += 2;
    if (link->version >= 5) {
        at = fake_get_length(at, end, &properties);
        if (properties > 0 && at[0] == 11) {
            size_t value;
            fake_get_length(at + 1, end, &value);
            identifier = (uint32_t)value;
        }
        at += properties;
        answer[len++] = 0;
    }
    while (at < end && len < sizeof answer) {
        struct fake_subscribe *sub = &b->subscribes[b->subscribe_count++ % FAKE_NOTES];
        at = fake_text(at, sub->filter, sizeof sub->filter);
        sub->options = *at++;
        sub->identifier = identifier;
        answer[len++] = (unsigned char)fake_suback_code(b, sub->filter, (int)(sub->options & 3));
    }
    answer[1] = (unsigned char)(len - 2);
    if (!b->mute_suback)
        fake_send(link->fd, answer, len);
}

static void fake_note_ack(struct fake_broker *b, uint16_t id) {
    if (b->ack_count == b->ack_cap) {
        b->ack_cap = b->ack_cap > 0 ? b->ack_cap * 2 : 1024;
        b->acks = realloc(b->acks, b->ack_cap * sizeof *b->acks);
        assert(b->acks != NULL);
    }
    b->acks[b->ack_count++] = (struct fake_ack){ id, fake_now_ns() };
}

static void fake_answer(struct fake_link *link, unsigned char type, unsigned id, int code) {
    const unsigned char packet[] = { type, code > 0 ? 3 : 2, (unsigned char)(id >> 8), (unsigned char)id, (unsigned char)code };

    fake_send(link->fd, packet, code > 0 ? 5 : 4);
}

static void fake_on_publish(struct fake_broker *b, struct fake_link *link, unsigned char type, const unsigned char *at,
                            const unsigned char *end) {
    struct fake_published *published = &b->published[b->published_count++ % FAKE_NOTES];
    size_t properties = 0, shown;

    memset(published, 0, sizeof *published);
    published->qos = type >> 1 & 3;
    published->retain = type & 1;
    published->dup = (type & 8) != 0;
    at = fake_text(at, published->topic, sizeof published->topic);
    if (published->qos > 0) {
        published->id = (uint16_t)fake_get16(at);
        at += 2;
    }
    if (link->version >= 5) {
        at = fake_get_length(at, end, &properties);
        if (properties >= 3 && at[0] == 35)
            published->alias = fake_get16(at + 1);
        at += properties;
    }
    published->payload_len = (size_t)(end - at);
    shown = published->payload_len < sizeof published->payload ? published->payload_len : sizeof published->payload - 1;
    memcpy(published->payload, at, shown);
    if (published->qos > 0 && !b->mute_puback)
        fake_answer(link, published->qos == 1 ? 0x40 : 0x50, published->id, link->version >= 5 ? b->puback_code : 0);
}

static void fake_on_unsubscribe(struct fake_broker *b, struct fake_link *link, const unsigned char *at) {
    const unsigned char v5[] = { 0xb0, 4, at[0], at[1], 0, 0 }, v3[] = { 0xb0, 2, at[0], at[1] };

    b->unsubscribe_count++;
    fake_send(link->fd, link->version >= 5 ? v5 : v3, link->version >= 5 ? sizeof v5 : sizeof v3);
}

static void fake_on_packet(struct fake_broker *b, int index, unsigned char type, const unsigned char *at,
                           const unsigned char *end) {
    static const unsigned char pong[] = { 0xd0, 0 };

    switch (type >> 4) {
    case 1:
        fake_on_connect(b, index, at, end);
        break;
    case 3:
        fake_on_publish(b, &b->links[index], type, at, end);
        break;
    case 4:
        fake_note_ack(b, (uint16_t)fake_get16(at));
        break;
    case 5:
        b->receipts[b->receipt_count++ % FAKE_NOTES] = (uint16_t)fake_get16(at);
        fake_answer(&b->links[index], 0x62, fake_get16(at), 0);
        break;
    case 6:
        fake_answer(&b->links[index], 0x70, fake_get16(at), 0);
        break;
    case 7:
        b->complete_count++;
        break;
    case 8:
        fake_on_subscribe(b, &b->links[index], at, end);
        break;
    case 10:
        fake_on_unsubscribe(b, &b->links[index], at);
        break;
    case 12:
        fake_send(b->links[index].fd, pong, sizeof pong);
        break;
    case 14:
        b->disconnect_count++;
        fake_close(b, index);
        break;
    default:
        break;
    }
}

static void fake_read(struct fake_broker *b, int index) {
    struct fake_link *link = &b->links[index];
    ssize_t got = recv(link->fd, link->in + link->len, sizeof link->in - link->len, MSG_DONTWAIT);
    size_t used = 0;

    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            fake_close(b, index);
        return;
    }
    link->len += (size_t)got;
    while (link->fd >= 0 && used < link->len) {
        size_t len;
        const unsigned char *end = link->in + link->len, *body = fake_get_length(link->in + used + 1, end, &len);
        if (body == NULL || body + len > end)
            break;
        fake_on_packet(b, index, link->in[used], body, body + len);
        used = (size_t)(body - link->in) + len;
    }
    memmove(link->in, link->in + used, link->len - used);
    link->len -= used;
}

static void fake_accept(struct fake_broker *b) {
    int fd = accept(b->listener, NULL, NULL);

    for (int i = 0; fd >= 0 && i < FAKE_CONNECTIONS; i++)
        if (b->links[i].fd < 0) {
            b->links[i].fd = fd;
            b->links[i].len = 0;
            return;
        }
    if (fd >= 0)
        close(fd);
}

static void *fake_run(void *ctx) {
    struct fake_broker *b = ctx;

    for (;;) {
        struct pollfd fds[FAKE_CONNECTIONS + 2];
        pthread_mutex_lock(&b->lock);
        bool stopping = b->stopping;
        fds[0] = (struct pollfd){ .fd = b->listener, .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = b->wake[0], .events = POLLIN };
        for (int i = 0; i < FAKE_CONNECTIONS; i++)
            fds[i + 2] = (struct pollfd){ .fd = b->deaf ? -1 : b->links[i].fd, .events = POLLIN };
        pthread_mutex_unlock(&b->lock);
        if (stopping)
            return NULL;
        poll(fds, FAKE_CONNECTIONS + 2, -1);
        pthread_mutex_lock(&b->lock);
        if (fds[1].revents != 0) {
            char drained[64];
            if (read(b->wake[0], drained, sizeof drained) < 0)
                b->stopping = true;
        }
        for (int i = 0; i < FAKE_CONNECTIONS; i++)
            if (fds[i + 2].revents != 0 && !b->deaf && b->links[i].fd == fds[i + 2].fd && b->links[i].fd >= 0)
                fake_read(b, i);
        if (fds[0].revents != 0)
            fake_accept(b);
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->lock);
    }
}

static void fake_wake(struct fake_broker *b) {
    if (write(b->wake[1], "x", 1) < 0)
        abort();
}

void fake_broker_start(struct fake_broker *b) {
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(b->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    pthread_condattr_t monotonic;
    const int on = 1;

    b->listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(b->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(b->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(b->listener, 64) != 0 ||
        pipe(b->wake) != 0)
        abort();
    getsockname(b->listener, (struct sockaddr *)&address, &len);
    b->port = ntohs(address.sin_port);
    for (int i = 0; i < FAKE_CONNECTIONS; i++)
        b->links[i].fd = -1;
    b->newest = -1;
    b->stopping = false;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_create(&b->thread, NULL, fake_run, b);
}

void fake_broker_stop(struct fake_broker *b) {
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_mutex_unlock(&b->lock);
    fake_wake(b);
    pthread_join(b->thread, NULL);
    for (int i = 0; i < FAKE_CONNECTIONS; i++)
        fake_close(b, i);
    close(b->listener);
    close(b->wake[0]);
    close(b->wake[1]);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
}

void fake_broker_publish(struct fake_broker *b, const struct fake_publish *p) {
    size_t topic_len = strlen(p->topic), payload_len = p->payload_len > 0 ? p->payload_len : strlen(p->payload);
    unsigned char *packet = malloc(topic_len + payload_len + p->properties_len + 32), length[4];
    unsigned char *at = packet;

    assert(packet != NULL);
    pthread_mutex_lock(&b->lock);
    int fd = b->newest >= 0 ? b->links[b->newest].fd : -1;
    bool v5 = b->newest >= 0 && b->links[b->newest].version >= 5;
    unsigned char properties_length[4];
    size_t properties_prefix = v5 ? fake_put_length(properties_length, p->properties_len) : 0;
    size_t body = 2 + topic_len + (p->qos > 0 ? 2 : 0) + (v5 ? properties_prefix + p->properties_len : 0) + payload_len;
    size_t prefix = fake_put_length(length, body);

    *at++ = (unsigned char)(0x30 | p->dup << 3 | p->qos << 1 | p->retain);
    memcpy(at, length, prefix);
    at += prefix;
    *at++ = (unsigned char)(topic_len >> 8);
    *at++ = (unsigned char)topic_len;
    memcpy(at, p->topic, topic_len);
    at += topic_len;
    if (p->qos > 0) {
        *at++ = (unsigned char)(p->id >> 8);
        *at++ = (unsigned char)p->id;
    }
    if (v5) {
        memcpy(at, properties_length, properties_prefix);
        at += properties_prefix;
        if (p->properties_len > 0)
            memcpy(at, p->properties, p->properties_len);
        at += p->properties_len;
    }
    memcpy(at, p->payload, payload_len);
    at += payload_len;
    if (fd >= 0 && !fake_send(fd, packet, (size_t)(at - packet)))
        fake_close(b, b->newest);
    pthread_mutex_unlock(&b->lock);
    free(packet);
}

void fake_broker_send(struct fake_broker *b, const void *bytes, size_t len) {
    pthread_mutex_lock(&b->lock);
    if (b->newest >= 0 && !fake_send(b->links[b->newest].fd, bytes, len))
        fake_close(b, b->newest);
    pthread_mutex_unlock(&b->lock);
}

void fake_broker_drop(struct fake_broker *b) {
    pthread_mutex_lock(&b->lock);
    if (b->newest >= 0) {
        const struct linger hard = { .l_onoff = 1 };
        setsockopt(b->links[b->newest].fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        fake_close(b, b->newest);
    }
    pthread_mutex_unlock(&b->lock);
    fake_wake(b);
}

void fake_broker_dismiss(struct fake_broker *b, unsigned char reason) {
    const unsigned char packet[] = { 0xe0, 2, reason, 0 };

    pthread_mutex_lock(&b->lock);
    if (b->newest >= 0)
        fake_send(b->links[b->newest].fd, packet, sizeof packet);
    pthread_mutex_unlock(&b->lock);
}

size_t fake_broker_unread(struct fake_broker *b) {
    int unread = 0;

    pthread_mutex_lock(&b->lock);
    if (b->newest >= 0 && ioctl(b->links[b->newest].fd, FIONREAD, &unread) != 0)
        unread = 0;
    pthread_mutex_unlock(&b->lock);
    return (size_t)unread;
}

void fake_broker_listen(struct fake_broker *b) {
    pthread_mutex_lock(&b->lock);
    b->deaf = false;
    pthread_mutex_unlock(&b->lock);
    fake_wake(b);
}

static bool fake_wait(struct fake_broker *b, const size_t *value, size_t count) {
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&b->lock);
    while (*value < count && rc == 0)
        rc = pthread_cond_timedwait(&b->changed, &b->lock, &until);
    bool reached = *value >= count;
    pthread_mutex_unlock(&b->lock);
    return reached;
}

bool fake_broker_wait_acks(struct fake_broker *b, size_t count) {
    return fake_wait(b, &b->ack_count, count);
}

bool fake_broker_wait_receipts(struct fake_broker *b, size_t count) {
    return fake_wait(b, &b->receipt_count, count);
}

bool fake_broker_wait_complete(struct fake_broker *b, size_t count) {
    return fake_wait(b, &b->complete_count, count);
}

bool fake_broker_wait_published(struct fake_broker *b, size_t count) {
    return fake_wait(b, &b->published_count, count);
}

bool fake_broker_wait_subscribes(struct fake_broker *b, size_t count) {
    return fake_wait(b, &b->subscribe_count, count);
}

bool fake_broker_wait_connects(struct fake_broker *b, size_t count) {
    return fake_wait(b, &b->connect_count, count);
}

bool fake_broker_wait_disconnects(struct fake_broker *b, size_t count) {
    return fake_wait(b, &b->disconnect_count, count);
}

size_t fake_broker_acks(struct fake_broker *b) {
    pthread_mutex_lock(&b->lock);
    size_t count = b->ack_count;
    pthread_mutex_unlock(&b->lock);
    return count;
}
