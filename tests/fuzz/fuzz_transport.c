/*
 * tests/fuzz/fuzz_transport.c: one transport over a socket pair, plain or WebSocket, and a script of what both sides do to it: bytes in any pieces,
 * pauses, expectations, output, closing. The owner gets what was sent, in order, once; references are given back; nothing is left at the end.
 */
#include <event2/event.h>
#include <event2/util.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/broker/transport_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds)
        abort();
}

struct world {
    struct event_base *base;
    struct transports *shared;
    struct transport_origin origin;
    struct transport *transport; /* NULL: over, or not there yet */
    struct buf sent, received;   /* to the owner; plain bytes alone are compared */
    size_t packet, held, left, freed, ended;
    bool plain, close_in_call;
    int fd;
};

static size_t on_received(void *owner, struct str bytes) {
    struct world *world = owner;
    size_t used = world->packet > 0 ? bytes.len - bytes.len % world->packet : bytes.len;

    require(bytes.len > 0);
    /* It begins where the last call has ended, and is what was sent. */
    if (world->plain) {
        require(world->received.len + bytes.len <= world->sent.len);
        require(memcmp(bytes.data, world->sent.data + world->received.len, bytes.len) == 0);
    }
    buf_append(&world->received, bytes.data, used);
    if (world->close_in_call) {
        transport_close(world->transport, world->packet);
        world->transport = NULL;
    }
    return used;
}

static void on_drained(void *owner) {
    struct world *world = owner;

    require(world->transport != NULL);
}

static void on_ended(void *owner, enum transport_end why, const char *words) {
    struct world *world = owner;

    require(world->transport != NULL && words[0] != '\0' && why <= TRANSPORT_NO_MEMORY);
    world->transport = NULL;
    world->ended++;
}

static void on_ready(void *ctx, struct transport *transport) {
    static const struct transport_events events = { on_received, on_drained, on_ended };
    struct world *world = ctx;

    world->transport = transport;
    transport_set_output_limit(transport, 300000);
    transport_own(transport, &events, world);
}

static void on_failed(void *ctx, const struct transport *transport, enum transport_end why, const char *words) {
    (void)ctx;
    (void)transport;
    require(words[0] != '\0' && why <= TRANSPORT_NO_MEMORY);
}

static void on_left(void *ctx) {
    ((struct world *)ctx)->left++;
}

static void on_freed(void *ctx) {
    ((struct world *)ctx)->freed++;
}

static struct world *current; /* whom references belong to; one at a time */

static void hold(void *owner) {
    (void)owner;
    current->held++;
}

static void release(void *owner) {
    (void)owner;
    require(current->held > 0);
    current->held--;
}

static void spin(struct world *world) {
    event_base_loop(world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void send_bytes(struct world *world, const uint8_t *data, size_t len) {
    ssize_t sent = len > 0 ? send(world->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    if (sent > 0)
        buf_append(&world->sent, data, (size_t)sent);
}

static void write_bytes(struct world *world, size_t len) {
    static const char payload[70000];
    static const struct transport_references references = { hold, release };
    const struct transport_piece pieces[] = { { STR_INIT("head"), NULL }, { str_make(payload, len), world } };

    transport_write(world->transport, pieces, 2, &references);
}

/* What the owner does; nothing without a transport. */
static void act(struct world *world, unsigned what, size_t number) {
    if (world->transport == NULL)
        return;
    switch (what) {
    case 2:
        transport_pause(world->transport);
        break;
    case 3:
        transport_resume(world->transport);
        break;
    case 4:
        transport_expect(world->transport, number * 97);
        break;
    case 5:
        world->packet = number;
        break;
    case 6:
        write_bytes(world, number * 257);
        break;
    case 7:
        transport_watch_output(world->transport, number * 100);
        break;
    case 8:
        transport_flush(world->transport);
        break;
    case 9:
        transport_close(world->transport, number);
        world->transport = NULL;
        break;
    case 10:
        world->close_in_call = number > 200;
        break;
    }
}

static void play(struct world *world, const uint8_t *data, size_t size) {
    static char sink[65536];

    for (size_t at = 0; at + 2 <= size;) {
        unsigned what = data[at] % 14;
        size_t number = data[at + 1], len = number;
        at += 2;
        if (what <= 1) {
            if (what == 1)
                len *= 64;
            if (len > size - at)
                len = size - at;
            send_bytes(world, data + at, len);
            at += len;
        } else if (what == 11) {
            (void)!recv(world->fd, sink, sizeof sink, MSG_DONTWAIT);
        } else if (what == 12 && number > 250) {
            shutdown(world->fd, number % 2 ? SHUT_WR : SHUT_RDWR);
        } else {
            act(world, what, number);
        }
        if (number % 3 != 0)
            spin(world);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct websocket_rules rules = { "", "" };
    const struct transport_peer peer = { .address = "unix" };
    struct world world = { .sent = BUF_INIT(1 << 20), .received = BUF_INIT(1 << 20) };
    int ends[2];

    if (size < 1 || size > 65536)
        return 0;
    signal(SIGPIPE, SIG_IGN);
    current = &world;
    world.plain = data[0] % 2 == 0;
    world.base = event_base_new();
    world.shared = transports_new(world.base, NULL);
    world.origin = (struct transport_origin){ .ctx = &world, .websocket = world.plain ? NULL : &rules, .ready = on_ready, .failed = on_failed,
                                              .left = on_left, .freed = on_freed };
    require(world.base != NULL && world.shared != NULL && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    evutil_make_socket_nonblocking(ends[0]);
    world.fd = ends[1];
    require(transport_adopt(world.shared, ends[0], &world.origin, &peer, 1000000000));
    play(&world, data + 1, size - 1);
    if (data[0] % 4 >= 2) { /* let it go as far as it goes */
        if (world.transport != NULL)
            transport_resume(world.transport);
        shutdown(world.fd, SHUT_WR);
        for (int i = 0; i < 20; i++)
            spin(&world);
    }
    while (world.origin.setup.first != NULL)
        transport_kill(world.origin.setup.first);
    transports_free(world.shared);
    require(world.held == 0 && world.left == 1 && world.freed == 1 && world.ended <= 1);
    buf_release(&world.sent);
    buf_release(&world.received);
    close(world.fd);
    event_base_free(world.base);
    return 0;
}
