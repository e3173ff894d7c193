/*
 * tests/unit/test_transport.c: what transport.h promises, over real sockets, for every carrier: bytes in any pieces, back-pressure both ways, and
 * every way to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/broker/transport_internal.h"
#include "tests/support/broker_side.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char pattern[4 << 20];

static int make_pattern(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)(i * 167 + i / 257 * 13);
    pattern[0] = '\x10'; /* as CONNECT does: the first byte is looked at */
    return 0;
}

static enum carrier carrier_of(void **state) {
    return *(const enum carrier *)*state;
}

/* ---- receiving -------------------------------------------------------------------------------------------------- */

static void tells_who_is_there(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    const struct transport_peer *peer = transport_peer(side->owners[0]->transport);

    assert_string_equal(peer->address, carrier == CARRIER_UNIX ? "unix" : "127.0.0.1");
    assert_int_equal(peer->local_port, listener_port(side->listener));
    assert_true((peer->port != 0) == (carrier != CARRIER_UNIX));
    assert_int_equal(peer->encrypted, carrier_has_tls(carrier));
    assert_int_equal(peer->websocket, carrier_has_websocket(carrier));
    assert_true(peer->loopback);
    assert_int_equal(peer->certificate_name.len, 0);
    client_close(client);
    side_free(side);
}

/* Handshake, upgrade and packets, cut into pieces of so many bytes of what goes over the wire. */
static void takes_packets_in_any_pieces(void **state) {
    enum { PACKET = 50, BYTES = 40 * PACKET };
    static const size_t pieces[] = { 1, 2, 3, 7, 49, 50, 51, 1000 }, frames[] = { 0, 1, 7, 50, 77 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);

    for (size_t i = 0; i < COUNT(pieces); i++) {
        for (size_t j = 0; j < (carrier_has_websocket(carrier) ? COUNT(frames) : 1); j++) {
            size_t before = side->accepted;
            struct client *client = client_open_in_pieces(side, carrier, pieces[i]);
            struct owner *owner;
            assert_true(side_until(side, side->accepted == before + 1));
            if (carrier_has_websocket(carrier))
                assert_true(client_until(client, client_take_answer(client)));
            owner = side->owners[before];
            owner->packet = PACKET;
            transport_expect(owner->transport, PACKET);
            client->frame = frames[j];
            client_send(client, pattern, BYTES);
            assert_true(side_until(side, owner->received.len == BYTES));
            assert_memory_equal(owner->received.data, pattern, BYTES);
            assert_true(owner->calls <= BYTES / PACKET);
            client_close(client);
            assert_true(side_until(side, owner->ended));
            assert_int_equal(owner->why, TRANSPORT_CLOSED);
        }
    }
    side_free(side);
}

/* The first bytes come together with the end of handshake and upgrade: nothing is lost at the seam. */
static void bytes_behind_the_set_up_are_received(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open_in_pieces(side, carrier, 0);

    client_send(client, pattern, 70000);
    assert_true(side_until(side, side->accepted == 1 && side->owners[0]->received.len == 70000));
    assert_memory_equal(side->owners[0]->received.data, pattern, 70000);
    client_close(client);
    side_free(side);
}

/* Many small records or frames that are there at once are one call of the owner. */
static void what_comes_together_is_one_call(void **state) {
    enum { PACKETS = 50, PACKET = 20 };
    static const unsigned char head[] = { 0x82, 0x80 | PACKET, 0, 0, 0, 0 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct buf all = BUF_INIT(1 << 20);

    for (size_t i = 0; i < PACKETS; i++) {
        struct buf one = BUF_INIT(100);
        if (carrier_has_websocket(carrier))
            buf_append(&one, head, sizeof head);
        buf_append(&one, pattern + i * PACKET, PACKET);
        if (carrier_has_tls(carrier))
            assert_int_equal(SSL_write(client->tls, one.data, (int)one.len), one.len);
        else
            buf_append_str(&all, buf_str(&one));
        buf_release(&one);
    }
    if (carrier_has_tls(carrier))
        client_push_cipher(client);
    else
        client_send_raw(client, all.data, all.len);
    assert_true(side_until(side, side->owners[0]->received.len == PACKETS * PACKET));
    assert_memory_equal(side->owners[0]->received.data, pattern, PACKETS * PACKET);
    assert_int_equal(side->owners[0]->calls, 1);
    buf_release(&all);
    client_close(client);
    side_free(side);
}

static void a_large_packet_comes_in_one_call(void **state) {
    enum { LARGE = 3000000, BEHIND = 1000 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];
    size_t idle = transport_memory(owner->transport);

    owner->packet = LARGE;
    transport_expect(owner->transport, LARGE);
    for (size_t sent = 0, step; sent < LARGE + BEHIND; sent += step) {
        step = LARGE + BEHIND - sent < 10000 ? LARGE + BEHIND - sent : 10000;
        client_send(client, pattern + sent, step);
        side_spin(side);
        /* Never on the peer's word alone. */
        assert_true(transport_memory(owner->transport) - idle <= 2 * (sent + step));
    }
    assert_true(side_until(side, owner->received.len == LARGE));
    assert_memory_equal(owner->received.data, pattern, LARGE);
    assert_int_equal(owner->calls, 1);
    owner->packet = 0;
    transport_expect(owner->transport, 0);
    client_send(client, pattern, 1); /* what is behind comes with what comes next */
    assert_true(side_until(side, owner->received.len == LARGE + BEHIND + 1));
    assert_memory_equal(owner->received.data + LARGE, pattern + LARGE, BEHIND);
    assert_int_equal(transport_memory(owner->transport), idle); /* and all of it is given back */
    client_close(client);
    side_free(side);
}

static void pause_now(struct owner *owner) {
    transport_pause(owner->transport);
}

static void a_paused_one_reads_nothing(void **state) {
    enum { BYTES = 3000000 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];
    size_t before;

    owner->packet = 7; /* so that something is always left */
    owner->on_received = pause_now;
    client_send(client, pattern, 1000);
    assert_true(side_until(side, owner->calls == 1));
    for (size_t sent = 1000; sent < 1 << 20; sent += 4096) {
        ssize_t result = carrier_has_tls(carrier) || carrier_has_websocket(carrier) ? -1 : send(client->fd, pattern + sent, 4096, MSG_NOSIGNAL);
        if (result < 4096)
            break;
    }
    for (int i = 0; i < 200; i++)
        side_spin(side);
    assert_int_equal(owner->calls, 1);
    before = owner->received.len;
    assert_true(transport_memory(owner->transport) < 200000);
    transport_resume(owner->transport);
    side_spin(side);
    side_spin(side);
    transport_pause(owner->transport); /* twice is once */
    transport_resume(owner->transport);
    assert_true(owner->received.len >= before);
    owner->on_received = NULL;
    transport_resume(owner->transport);
    assert_true(side_until(side, owner->received.len >= 994));
    assert_memory_equal(owner->received.data, pattern, owner->received.len);
    client_close(client);
    side_free(side);
}

/* Takes one packet of ten bytes a call, pauses, and is resumed by the test: what is kept must come again each time. */
static size_t take_ten(void *ctx, struct str bytes) {
    struct owner *owner = ctx;
    size_t used = bytes.len < 10 ? 0 : 10;

    owner->calls++;
    buf_append(&owner->received, bytes.data, used);
    transport_pause(owner->transport);
    return used;
}

static void what_is_kept_comes_again_on_resuming(void **state) {
    static const struct transport_events events = { take_ten, owner_drained, owner_ended };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    transport_own(owner->transport, &events, owner);
    client_send(client, pattern, 1000);
    for (size_t i = 1; i <= 100; i++) {
        assert_true(side_until(side, owner->received.len == 10 * i));
        transport_resume(owner->transport);
    }
    assert_memory_equal(owner->received.data, pattern, 1000);
    assert_true(owner->calls <= 101);
    client_close(client);
    side_free(side);
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static size_t held, released;

static void hold(void *owner) {
    (void)owner;
    held++;
}

static void release(void *owner) {
    (void)owner;
    released++;
}

static const struct transport_references references = { hold, release };

static int count_anew(void **state) {
    (void)state;
    held = released = 0;
    return 0;
}

/* A packet of a copied head and a payload that may be kept by reference. */
static bool write_packet(struct owner *owner, size_t at, size_t len) {
    const struct transport_piece pieces[] = { { str_make(pattern + at, 5), NULL }, { str_make(pattern + at + 5, len - 5), owner } };

    return transport_write(owner->transport, pieces, 2, &references);
}

static void sends_in_order(void **state) {
    enum { BYTES = 2000000 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    srand(3);
    for (size_t at = 0, len; at < BYTES; at += len) {
        len = 6 + (size_t)rand() % (rand() % 8 == 0 ? 20000 : 600);
        if (len > BYTES - at || BYTES - at - len < 6)
            len = BYTES - at;
        assert_true(write_packet(owner, at, len));
        if (rand() % 10 == 0)
            transport_flush(owner->transport);
        if (rand() % 10 == 0)
            side_spin(side);
        if (rand() % 10 == 0)
            client_read(client);
    }
    assert_true(client_until(client, client->in.len == BYTES));
    assert_memory_equal(client->in.data, pattern, BYTES);
    assert_true(held > 0);
    assert_true(side_until(side, transport_queued(owner->transport) == 0));
    assert_int_equal(held, released);
    client_close(client);
    side_free(side);
}

/* The kernel takes a little at a time: what it leaves of a record or frame is not lost and not sent twice. */
static void sends_through_a_small_socket(void **state) {
    enum { BYTES = 500000 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    int small = 1;

    if (carrier != CARRIER_UNIX)
        assert_int_equal(setsockopt(accepted_end(client), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    for (size_t at = 0; at < BYTES; at += 1000)
        assert_true(write_packet(side->owners[0], at, 1000));
    assert_true(client_until(client, ({
                                 if (carrier_has_websocket(carrier)) /* the answers go between frames, wherever one is cut */
                                     client_send_frame(client, 0x89, "there?", 6);
                                 client->in.len == BYTES;
                             })));
    assert_memory_equal(client->in.data, pattern, BYTES);
    assert_true((client->pongs > 0) == carrier_has_websocket(carrier));
    assert_int_equal(held, released);
    client_close(client);
    side_free(side);
}

/* What is not counted as queued is with the kernel: the peer can read all of it though the broker does nothing more. */
static void queued_is_what_the_kernel_has_not_taken(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];
    int small = 1;
    size_t queued;

    if (carrier != CARRIER_UNIX)
        assert_int_equal(setsockopt(accepted_end(client), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    for (size_t at = 0; at < sizeof pattern; at += 4096)
        assert_true(write_packet(owner, at, 4096));
    for (int i = 0; i < 100; i++)
        side_spin(side);
    queued = transport_queued(owner->transport);
    assert_true(queued > 0 && queued < sizeof pattern);
    for (int quiet = 0; quiet < 50; quiet++) { /* the kernel moves data from one end to the other in its own time */
        size_t before = client->in.len + client->raw.len;
        client_read(client);
        if (client->in.len + client->raw.len > before)
            quiet = 0;
        poll(NULL, 0, 1);
    }
    if (carrier_has_websocket(carrier)) /* the last frame is not whole */
        assert_in_range(client->in.len + client->raw.len, sizeof pattern - queued, sizeof pattern + 2000);
    else
        assert_in_range(client->in.len, sizeof pattern - queued, sizeof pattern);
    if (!carrier_has_tls(carrier) && !carrier_has_websocket(carrier))
        assert_int_equal(client->in.len, sizeof pattern - queued);
    client_close(client);
    side_free(side);
}

static void write_many(struct owner *owner) {
    for (size_t i = 0; i < 100; i++)
        assert_true(owner_write(owner, pattern + 4 * i, 4));
    assert_int_equal(transport_queued(owner->transport), 400);
}

/* What is written in one round is one frame, or one record: so it was one system call. */
static void one_round_is_one_write(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    owner->on_received = write_many;
    client_send(client, pattern, 10);
    assert_true(side_until(side, owner->calls == 1));
    assert_true(client_until(client, client->in.len > 0));
    assert_int_equal(client->in.len, 400);
    assert_memory_equal(client->in.data, pattern, 400);
    if (carrier_has_websocket(carrier))
        assert_int_equal(client->frames, 1);
    assert_int_equal(transport_queued(owner->transport), 0);
    client_close(client);
    side_free(side);
}

static void flush_now(struct owner *owner) {
    assert_true(owner_write(owner, "now", 3));
    transport_flush(owner->transport);
    assert_int_equal(transport_queued(owner->transport), 0);
}

static void a_flush_sends_at_once(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);

    side->owners[0]->on_received = flush_now;
    client_send(client, pattern, 10);
    assert_true(client_until(client, client->in.len == 3));
    client_close(client);
    side_free(side);
}

/* The peer reads nothing: the limit holds to the byte, and memory with it. */
static void a_stalled_peer_costs_its_limit(void **state) {
    enum { LIMIT = 1000000, PACKET = 1000 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];
    size_t idle = transport_memory(owner->transport);

    transport_set_output_limit(owner->transport, LIMIT);
    /* What the kernel takes, and then up to the limit. */
    while (transport_queued(owner->transport) + PACKET <= LIMIT) {
        assert_true(owner_write(owner, pattern, PACKET));
        side_spin(side);
    }
    assert_in_range(transport_memory(owner->transport) - idle, LIMIT - 300000, LIMIT * 11 / 10);
    while (transport_queued(owner->transport) < LIMIT)
        assert_true(owner_write(owner, pattern, 1));
    assert_false(write_packet(owner, 0, PACKET));
    assert_int_equal(transport_queued(owner->transport), LIMIT);
    assert_false(owner->ended); /* not from within */
    assert_false(owner_write(owner, "x", 1));
    assert_true(side_until(side, owner->ended));
    assert_int_equal(owner->why, TRANSPORT_FULL);
    assert_string_equal(owner->words, "it does not read what it is sent: its output has reached the limit");
    assert_int_equal(held, released);
    client_close(client);
    side_free(side);
}

static void a_packet_over_the_limit_alone_is_refused(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    transport_set_output_limit(owner->transport, 1000);
    assert_true(write_packet(owner, 0, 1000));
    assert_false(owner_write(owner, "x", 1));
    assert_true(side_until(side, owner->ended));
    assert_int_equal(owner->why, TRANSPORT_FULL);
    assert_int_equal(held, 1);
    assert_int_equal(released, 1);
    client_close(client);
    side_free(side);
}

static void says_once_when_the_output_has_drained(void **state) {
    enum { BYTES = 4000000, MARK = 1000000 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    for (size_t at = 0; at < BYTES; at += 1000)
        assert_true(write_packet(owner, at, 1000));
    transport_watch_output(owner->transport, MARK);
    for (int i = 0; i < 100; i++)
        side_spin(side);
    assert_int_equal(owner->drained, 0); /* the kernel has some, and not that much */
    assert_true(transport_queued(owner->transport) > MARK);
    while (owner->drained == 0) {
        assert_true(client_until(client, client->in.len < BYTES));
        client_read_some(client, client->raw.len + 10000);
        side_spin(side);
    }
    assert_true(transport_queued(owner->transport) <= MARK);
    assert_true(client_until(client, client->in.len == BYTES));
    assert_memory_equal(client->in.data, pattern, BYTES);
    assert_int_equal(owner->drained, 1);
    transport_watch_output(owner->transport, 0); /* it is there already: still said, from the loop */
    assert_int_equal(owner->drained, 1);
    assert_true(side_until(side, owner->drained == 2));
    assert_int_equal(held, released);
    client_close(client);
    side_free(side);
}

/* A stalled one, both ways busy: what goes out does not hold up what comes in. */
static void receives_while_it_cannot_send(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    for (size_t at = 0; at < sizeof pattern; at += 4096)
        assert_true(write_packet(owner, at, 4096));
    for (int i = 0; i < 100; i++)
        side_spin(side);
    client_send(client, pattern, 5000);
    assert_true(side_until(side, owner->received.len == 5000));
    assert_true(transport_queued(owner->transport) > 0);
    client_close(client);
    assert_true(side_until(side, owner->ended));
    assert_int_equal(held, released);
    side_free(side);
}

/* ---- endings ---------------------------------------------------------------------------------------------------- */

static void the_peer_closes(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    client_send(client, pattern, 100);
    client_close(client);
    assert_true(side_until(side, owner->ended));
    assert_int_equal(owner->received.len, 100);
    assert_int_equal(owner->why, TRANSPORT_CLOSED);
    assert_string_equal(owner->words, "it has closed the connection");
    assert_true(side_until(side, listener_connections(side->listener) == 0 && transports_lingering(side->transports) == 0));
    side_free(side);
}

static void the_network_resets(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    assert_true(write_packet(owner, 0, 1000));
    side_spin(side);
    client_reset(client);
    assert_true(side_until(side, owner->ended));
    assert_int_equal(owner->why, TRANSPORT_RESET);
    assert_string_equal(owner->words, "Connection reset by peer");
    assert_int_equal(listener_connections(side->listener), 0);
    assert_int_equal(held, released);
    client_close(client);
    side_free(side);
}

static void answer_and_go_on(struct owner *owner) {
    assert_true(write_packet(owner, 0, 2000));
}

/* `printf ... | nc`: all is said, and the answer is still wanted. */
static void a_half_closed_peer_gets_what_was_written(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    owner->on_received = answer_and_go_on;
    client_send(client, pattern, 100);
    shutdown(client->fd, SHUT_WR);
    assert_true(client_until(client, client->at_end));
    assert_int_equal(client->error, 0);
    assert_int_equal(client->in.len, 2000 * owner->calls);
    assert_memory_equal(client->in.data, pattern, 2000);
    assert_true(owner->ended);
    assert_int_equal(owner->why, TRANSPORT_CLOSED);
    assert_int_equal(held, released);
    client_close(client);
    side_free(side);
}

/* The last packet is read though the peer was in the middle of sending: no reset takes it away. */
static void the_last_packet_is_not_lost(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];
    size_t calls;

    transport_pause(owner->transport); /* so that there is a lot unread */
    for (size_t at = 0; at < 100000; at += 10000)
        client_send(client, pattern + at, 10000);
    assert_true(write_packet(owner, 0, 100000));
    calls = owner->calls;
    owner_close(owner, 5000);
    assert_int_equal(listener_connections(side->listener), 0);
    assert_int_equal(transports_lingering(side->transports), 1);
    client_send(client, pattern, 1000);
    assert_true(client_until(client, client->at_end));
    assert_int_equal(client->error, 0);
    assert_int_equal(client->in.len, 100000);
    assert_memory_equal(client->in.data, pattern, 100000);
    assert_int_equal(owner->calls, calls); /* the owner hears no more */
    assert_false(owner->ended);
    if (carrier_has_websocket(carrier))
        assert_int_equal(client->close_code, WEBSOCKET_NORMAL);
    if (carrier_has_tls(carrier))
        assert_int_equal(SSL_get_shutdown(client->tls) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    client_close(client);
    assert_true(side_until(side, transports_lingering(side->transports) == 0));
    assert_int_equal(held, released);
    side_free(side);
}

static void lingering_has_an_end(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *silent = client_open(side, carrier), *stalled = client_open(side, carrier);
    int64_t started = clock_mono_ns();

    for (size_t at = 0; at < sizeof pattern; at += 4096)
        assert_true(write_packet(side->owners[1], at, 4096));
    owner_close(side->owners[1], 400);
    owner_close(side->owners[0], 200);
    assert_true(side_until(side, transports_lingering(side->transports) == 1));
    assert_in_range((clock_mono_ns() - started) / NS_PER_MS, 199, 399);
    assert_true(side_until(side, transports_lingering(side->transports) == 0));
    assert_in_range((clock_mono_ns() - started) / NS_PER_MS, 399, 3000);
    assert_int_equal(held, released);
    client_close(silent);
    client_close(stalled);
    side_free(side);
}

static void a_close_without_linger_is_at_once(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);

    assert_true(write_packet(side->owners[0], 0, 1000));
    owner_close(side->owners[0], 0);
    assert_int_equal(listener_connections(side->listener), 0);
    assert_int_equal(transports_lingering(side->transports), 0);
    assert_int_equal(held, released);
    assert_true(client_until(client, client->at_end));
    assert_int_equal(client->in.len, 0);
    client_close(client);
    side_free(side);
}

static void close_now(struct owner *owner) {
    owner_close(owner, owner->packet == 1 ? 1000 : 0);
}

static void an_owner_may_close_when_it_receives(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);

    for (size_t packet = 0; packet < 2; packet++) {
        struct client *client = client_open(side, carrier);
        struct owner *owner = side->owners[packet];
        owner->packet = packet;
        owner->on_received = close_now;
        client_send(client, pattern, 300000);
        assert_true(side_until(side, owner->transport == NULL));
        assert_true(client_until(client, client->at_end));
        assert_int_equal(owner->calls, 1);
        assert_false(owner->ended);
        client_close(client);
    }
    side_free(side);
}

/* Another one's transport, in the same round, touched or not. */
static void close_the_next(struct owner *owner) {
    struct side *side = owner->side;
    struct owner *next = side->owners[owner == side->owners[0]];

    if (next->transport == NULL)
        return;
    assert_true(write_packet(next, 0, 1000));
    assert_true(write_packet(owner, 0, 1000));
    transport_flush(next->transport);
    owner_close(next, next->packet == 1 ? 500 : 0);
}

static void an_owner_may_close_another(void **state) {
    enum carrier carrier = carrier_of(state);

    for (size_t packet = 0; packet < 2; packet++) {
        struct side *side = side_start(carrier);
        struct client *clients[2] = { client_open(side, carrier), client_open(side, carrier) };
        for (int i = 0; i < 2; i++) {
            side->owners[i]->packet = packet;
            side->owners[i]->on_received = close_the_next;
            client_send(clients[i], pattern, 100);
        }
        assert_true(side_until(side, side->owners[0]->calls + side->owners[1]->calls > 0));
        for (int i = 0; i < 10; i++)
            side_spin(side);
        assert_int_equal((side->owners[0]->transport != NULL) + (side->owners[1]->transport != NULL), 1);
        client_close(clients[0]);
        client_close(clients[1]);
        side_free(side);
    }
}

static void drained_and_close(void *ctx) {
    struct owner *owner = ctx;

    owner->drained++;
    owner_close(owner, owner->packet == 1 ? 1000 : 0);
}

static void an_owner_may_close_when_it_has_drained(void **state) {
    static const struct transport_events events = { owner_received, drained_and_close, owner_ended };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);

    for (size_t packet = 0; packet < 2; packet++) {
        struct client *client = client_open(side, carrier);
        struct owner *owner = side->owners[packet];
        owner->packet = packet;
        transport_own(owner->transport, &events, owner);
        assert_true(write_packet(owner, 0, 3000));
        transport_watch_output(owner->transport, 0);
        assert_true(client_until(client, client->at_end));
        assert_int_equal(owner->drained, 1);
        assert_int_equal(client->in.len, 3000);
        client_close(client);
    }
    side_free(side);
}

/* Acknowledgements go nowhere, but what the peer has sent before it left is received. */
static void what_was_sent_before_the_end_is_received(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *client = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    transport_pause(owner->transport);
    client_send(client, pattern, 5000);
    client_close(client);
    for (int i = 0; i < 50; i++) {
        assert_true(write_packet(owner, 0, 1000)); /* the first of them draws a reset */
        side_spin(side);
        poll(NULL, 0, 1);
    }
    assert_false(owner->ended);
    transport_resume(owner->transport);
    assert_true(side_until(side, owner->ended));
    assert_int_equal(owner->received.len, 5000);
    assert_memory_equal(owner->received.data, pattern, 5000);
    assert_int_equal(owner->why, TRANSPORT_RESET);
    assert_int_equal(held, released);
    side_free(side);
}

static void write_to_all(struct owner *owner) {
    struct side *side = owner->side;

    for (size_t i = 0; i < side->accepted; i++)
        if (side->owners[i]->transport != NULL) {
            assert_true(owner_write(side->owners[i], owner->received.data, owner->received.len));
            transport_flush(side->owners[i]->transport);
        }
}

/* The buffers are shared: what one receives must not turn up at another. */
static void nobody_gets_anothers_bytes(void **state) {
    enum { CLIENTS = 5 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *clients[CLIENTS];

    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_open(side, carrier);
    side->owners[2]->on_received = write_to_all;
    client_send(clients[2], pattern, 30000);
    assert_true(side_until(side, side->owners[2]->received.len == 30000));
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(client_until(clients[i], clients[i]->in.len >= 30000));
        assert_memory_equal(clients[i]->in.data + clients[i]->in.len - 30000, pattern, 30000);
        client_close(clients[i]);
    }
    side_free(side);
}

/* A good record, and a broken one right behind it: the owner of the first writes to others while an alert waits to be sent. */
static void an_alert_goes_to_whom_it_is_for(void **state) {
    struct side *side = side_start(CARRIER_TLS);
    struct client *bad = client_open(side, CARRIER_TLS), *good = client_open(side, CARRIER_TLS);
    char cipher[1000];
    int len;

    (void)state;
    side->owners[0]->on_received = write_to_all;
    assert_int_equal(SSL_write(bad->tls, pattern, 10), 10);
    assert_int_equal(SSL_write(bad->tls, pattern, 10), 10);
    len = BIO_read(bad->outgoing, cipher, sizeof cipher);
    cipher[len - 1] ^= 1;
    client_send_raw(bad, cipher, (size_t)len);
    assert_true(client_until(good, good->in.len == 10));
    assert_memory_equal(good->in.data, pattern, 10);
    assert_true(client_until(bad, bad->at_end));
    assert_int_equal(bad->error, 0);
    assert_true(side->owners[0]->ended);
    assert_int_equal(side->owners[0]->why, TRANSPORT_TLS);
    assert_true(owner_write(side->owners[1], "on", 2));
    assert_true(client_until(good, good->in.len == 12));
    client_close(bad);
    client_close(good);
    side_free(side);
}

/* Whatever is going on, the end of the program leaves nothing (AddressSanitizer looks) and calls nobody. */
static void everything_ends_with_the_loop(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *clients[6];

    for (int i = 0; i < 6; i++)
        clients[i] = i == 5 ? client_dial(side, carrier) : client_open(side, carrier);
    client_send(clients[0], pattern, 100);
    side->owners[0]->packet = 1000;
    transport_expect(side->owners[0]->transport, 1000); /* keeps something */
    assert_true(write_packet(side->owners[1], 0, 100000));
    transport_pause(side->owners[2]->transport);
    client_send(clients[2], pattern, 100);
    side_spin(side);
    transport_resume(side->owners[2]->transport);
    assert_true(write_packet(side->owners[3], 0, 100000));
    owner_close(side->owners[3], 10000);
    owner_close(side->owners[4], 0);
    side_spin(side);
    side_free(side);
    assert_int_equal(held, released);
    for (int i = 0; i < 6; i++)
        client_close(clients[i]);
}

/* ---- many at a time --------------------------------------------------------------------------------------------- */

/* Random traffic, pauses, stalls and endings over many transports: every byte that arrives is the right one. */
static void chaos(void **state) {
    enum { CLIENTS = 24, STEPS = 6000 };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *clients[CLIENTS] = { NULL };
    struct owner *owners[CLIENTS] = { NULL };
    size_t sent[CLIENTS] = { 0 }, written[CLIENTS] = { 0 };

    srand(11);
    for (int step = 0; step < STEPS; step++) {
        size_t i = (size_t)rand() % CLIENTS, len = 6 + (size_t)rand() % (rand() % 10 == 0 ? 60000 : 300);
        struct client *client = clients[i];
        struct owner *owner = owners[i];
        if (client == NULL) {
            clients[i] = client_open(side, carrier);
            owners[i] = side->owners[side->accepted - 1];
            owners[i]->packet = (size_t)rand() % 3 * 10;
            sent[i] = written[i] = 0;
            continue;
        }
        switch (rand() % 12) {
        case 0: case 1: case 2:
            if (owner->transport != NULL && sent[i] + len < sizeof pattern && !client->at_end) {
                transport_resume(owner->transport); /* or it would wait for ever */
                client_send(client, pattern + sent[i], len);
                sent[i] += len;
            }
            break;
        case 3: case 4: case 5:
            if (owner->transport != NULL && written[i] + len < sizeof pattern && write_packet(owner, written[i], len))
                written[i] += len;
            break;
        case 6: case 7:
            client_read_some(client, client->raw.len + (size_t)rand() % 50000);
            assert_true(client->in.len <= written[i]);
            assert_memory_equal(client->in.data != NULL ? client->in.data : "", pattern, client->in.len);
            break;
        case 8:
            if (owner->transport != NULL)
                transport_pause(owner->transport);
            break;
        case 9:
            if (owner->transport != NULL && rand() % 2 == 0)
                transport_flush(owner->transport);
            break;
        case 10:
            if (owner->transport != NULL && rand() % 8 == 0)
                owner_close(owner, (unsigned)(rand() % 3) * 50);
            break;
        case 11:
            if (rand() % 8 == 0) {
                if (rand() % 2 == 0)
                    client_reset(client);
                client_close(client);
                clients[i] = NULL;
                if (owner->transport != NULL)
                    transport_resume(owner->transport);
                assert_true(side_until(side, owner->transport == NULL));
            }
            break;
        }
        side_spin(side);
        assert_memory_equal(owner->received.data != NULL ? owner->received.data : "", pattern, owner->received.len);
    }
    for (int i = 0; i < CLIENTS; i++)
        client_close(clients[i]);
    for (int i = 0; i < CLIENTS; i++)
        if (owners[i] != NULL && owners[i]->transport != NULL)
            transport_resume(owners[i]->transport);
    assert_true(side_until(side, listener_connections(side->listener) == 0 && transports_lingering(side->transports) == 0));
    assert_int_equal(held, released);
    side_free(side);
}

/* One that sends all the time gets its share of a round, and no more. */
static void a_flood_starves_nobody(void **state) {
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *flood = client_open(side, carrier), *other = client_open(side, carrier);
    int size = 4 << 20;

    setsockopt(flood->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    transport_pause(side->owners[0]->transport);
    if (carrier_has_tls(carrier) || carrier_has_websocket(carrier))
        client_send(flood, pattern, 150000);
    else
        while (send(flood->fd, pattern, 100000, MSG_NOSIGNAL) > 0)
            continue;
    transport_resume(side->owners[0]->transport);
    client_send(other, pattern, 100);
    /* Both were readable at once: before the second is heard, the first has had one turn or two. */
    assert_true(side_until(side, side->owners[1]->received.len == 100));
    assert_true(side->owners[0]->received.len <= 2 * (64 + 16) * 1024);
    client_close(flood);
    client_close(other);
    side_free(side);
}

/* Endless output for one: others are served in every round. */
static void refill(void *ctx) {
    struct owner *owner = ctx;

    owner->drained++;
    assert_true(write_packet(owner, 0, 100000));
    transport_watch_output(owner->transport, 0);
}

static void endless_output_starves_nobody(void **state) {
    static const struct transport_events events = { owner_received, refill, owner_ended };
    enum carrier carrier = carrier_of(state);
    struct side *side = side_start(carrier);
    struct client *greedy = client_open(side, carrier), *other = client_open(side, carrier);
    struct owner *owner = side->owners[0];

    transport_own(owner->transport, &events, owner);
    transport_watch_output(owner->transport, 0);
    for (size_t i = 1; i <= 20; i++) {
        size_t before = owner->drained;
        client_send(other, pattern, 100);
        side_spin(side);
        side_spin(side);
        assert_true(owner->drained - before <= 4);
        client_read(greedy);
    }
    assert_true(side_until(side, side->owners[1]->received.len == 2000));
    client_close(greedy);
    client_close(other);
    side_free(side);
}

static void too_many_that_linger_end_the_oldest(void **state) {
    enum { CLIENTS = 1030 };
    static struct client *clients[CLIENTS];
    struct side *side = side_start(CARRIER_PLAIN);

    (void)state;
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_open(side, CARRIER_PLAIN);
    for (int i = 0; i < CLIENTS; i++)
        owner_close(side->owners[i], 60000);
    assert_int_equal(transports_lingering(side->transports), 1024);
    for (int i = 0; i < CLIENTS; i++)
        client_close(clients[i]);
    assert_true(side_until(side, transports_lingering(side->transports) == 0));
    side_free(side);
}

/* ---- WebSocket -------------------------------------------------------------------------------------------------- */

static const enum carrier websocket_carriers[] = { CARRIER_WEBSOCKET, CARRIER_BOTH };

/* Whatever the kernel takes, a byte or all: what goes out is whole frames. */
static void frames_survive_every_step(void **state) {
    struct side *side = side_start(CARRIER_WEBSOCKET);
    struct client *client = client_open(side, CARRIER_WEBSOCKET);
    struct transport *transport = side->owners[0]->transport;

    (void)state;
    srand(5);
    for (size_t round = 0; round < 300; round++) {
        size_t before = client->in.len, put = 0;
        for (int i = 0; i < 1 + rand() % 5; i++, put += 200 + put % 7)
            assert_true(write_packet(side->owners[0], put, 200 + put % 7));
        while (transport_has_output(transport)) {
            struct iovec vectors[3];
            size_t count = 1 + (size_t)rand() % 3, total = transport_gather(transport, vectors, &count, 10 + (size_t)rand() % 500), step;
            assert_true(total > 0);
            step = rand() % 2 == 0 ? 1 : 1 + (size_t)rand() % total;
            transport_advance(transport, 0);
            for (size_t i = 0, left = step; i < count && left > 0; i++) {
                size_t len = vectors[i].iov_len < left ? vectors[i].iov_len : left;
                buf_append(&client->raw, vectors[i].iov_base, len);
                left -= len;
            }
            transport_advance(transport, step);
        }
        client_take_frames(client);
        assert_int_equal(client->raw.len, 0);
        assert_int_equal(client->in.len - before, put);
        assert_memory_equal(client->in.data + before, pattern, put);
    }
    assert_int_equal(held, released);
    client_close(client);
    side_free(side);
}

static void pings_are_answered(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(websocket_carriers); i++) {
        struct side *side = side_start(websocket_carriers[i]);
        struct client *client = client_open(side, websocket_carriers[i]);
        client_send_frame(client, 0x02, pattern, 100);
        client_send_frame(client, 0x89, "are you there?", 14);
        client_send_frame(client, 0x80, pattern + 100, 100);
        assert_true(client_until(client, client->pongs == 1));
        assert_true(side_until(side, side->owners[0]->received.len == 200));
        assert_memory_equal(side->owners[0]->received.data, pattern, 200);
        for (int j = 0; j < 20000; j++)
            client_send_frame(client, 0x89, "flooding", 8);
        assert_true(side_until(side, ({ client_send(client, "x", 1); side->owners[0]->received.len > 200; })));
        assert_true(transport_memory(side->owners[0]->transport) < 50000); /* a flood of pings is not answered one by one */
        assert_true(owner_write(side->owners[0], "whole", 5)); /* and every frame that goes out is one */
        assert_true(client_until(client, client->in.len == 5));
        assert_true(client->pongs > 1 && client->pongs <= 20001);
        client_close(client);
        side_free(side);
    }
}

static void a_close_frame_is_answered(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(websocket_carriers); i++) {
        struct side *side = side_start(websocket_carriers[i]);
        struct client *client = client_open(side, websocket_carriers[i]);
        client_send(client, pattern, 100);
        client_send_frame(client, 0x88, "\x03\xe9" "tab closed", 12);
        client_send(client, pattern, 100); /* after the close: not heard */
        assert_true(client_until(client, client->at_end));
        assert_int_equal(client->error, 0);
        assert_int_equal(client->close_code, WEBSOCKET_GOING_AWAY);
        assert_int_equal(side->owners[0]->received.len, 100);
        assert_int_equal(side->owners[0]->why, TRANSPORT_CLOSED);
        assert_string_equal(side->owners[0]->words, "it has closed the WebSocket");
        client_close(client);
        side_free(side);
    }
}

static void bad_frames_are_told(void **state) {
    static const struct {
        unsigned first;
        const char *payload;
        size_t len;
        unsigned code;
    } rows[] = { { 0x81, "text", 4, 1003 }, { 0xc2, "x", 1, 1002 }, { 0x80, "x", 1, 1002 }, { 0x88, "\x03\xed", 2, 1002 }, { 0x88, "\3\xe8\xff", 3, 1007 } };

    (void)state;
    for (size_t i = 0; i < COUNT(rows) * 2; i++) {
        enum carrier carrier = websocket_carriers[i % 2];
        struct side *side = side_start(carrier);
        struct client *client = client_open(side, carrier);
        client_send(client, pattern, 50);
        client_send_frame(client, rows[i / 2].first, rows[i / 2].payload, rows[i / 2].len);
        assert_true(client_until(client, client->at_end));
        assert_int_equal(client->error, 0);
        assert_int_equal(client->close_code, rows[i / 2].code);
        assert_int_equal(side->owners[0]->received.len, 50);
        assert_true(side->owners[0]->ended);
        assert_int_equal(side->owners[0]->why, TRANSPORT_WEBSOCKET);
        client_close(client);
        side_free(side);
    }
}

int main(void) {
    static const struct {
        const char *name;
        CMUnitTestFunction test;
    } each[] = {
#define EACH(test) { #test, test }
        EACH(tells_who_is_there),
        EACH(takes_packets_in_any_pieces),
        EACH(bytes_behind_the_set_up_are_received),
        EACH(what_comes_together_is_one_call),
        EACH(a_large_packet_comes_in_one_call),
        EACH(a_paused_one_reads_nothing),
        EACH(what_is_kept_comes_again_on_resuming),
        EACH(sends_in_order),
        EACH(sends_through_a_small_socket),
        EACH(queued_is_what_the_kernel_has_not_taken),
        EACH(one_round_is_one_write),
        EACH(a_flush_sends_at_once),
        EACH(a_stalled_peer_costs_its_limit),
        EACH(a_packet_over_the_limit_alone_is_refused),
        EACH(says_once_when_the_output_has_drained),
        EACH(receives_while_it_cannot_send),
        EACH(the_peer_closes),
        EACH(the_network_resets),
        EACH(a_half_closed_peer_gets_what_was_written),
        EACH(the_last_packet_is_not_lost),
        EACH(lingering_has_an_end),
        EACH(a_close_without_linger_is_at_once),
        EACH(an_owner_may_close_when_it_receives),
        EACH(an_owner_may_close_another),
        EACH(an_owner_may_close_when_it_has_drained),
        EACH(what_was_sent_before_the_end_is_received),
        EACH(nobody_gets_anothers_bytes),
        EACH(everything_ends_with_the_loop),
        EACH(chaos),
        EACH(a_flood_starves_nobody),
        EACH(endless_output_starves_nobody),
    };
    static enum carrier carriers[CARRIERS];
    static char names[COUNT(each) * CARRIERS][80];
    struct CMUnitTest tests[COUNT(each) * CARRIERS + 6];
    size_t count = 0;

    for (int carrier = 0; carrier < CARRIERS; carrier++) {
        carriers[carrier] = (enum carrier)carrier;
        for (size_t i = 0; i < COUNT(each); i++, count++) {
            snprintf(names[count], sizeof names[count], "%s: %s", carrier_names[carrier], each[i].name);
            tests[count] = (struct CMUnitTest){ names[count], each[i].test, count_anew, NULL, &carriers[carrier] };
        }
    }
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_setup(too_many_that_linger_end_the_oldest, count_anew);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_setup(an_alert_goes_to_whom_it_is_for, count_anew);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_setup(frames_survive_every_step, count_anew);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_setup(pings_are_answered, count_anew);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_setup(a_close_frame_is_answered, count_anew);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_setup(bad_frames_are_told, count_anew);
    return _cmocka_run_group_tests("transport", tests, count, make_pattern, NULL);
}
