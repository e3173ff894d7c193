/*
 * tests/unit/test_store_disk.c: the store on a disk that refuses, and on one whose power fails at every step: what was told to be durable is there
 * afterwards, and a group is there as a whole or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/store_disk.h"
#include "tests/support/store_fixture.h"

#define VFS "store-disk"

struct rig {
    struct store_fixture fixture;
    struct store_disk *disk;
};

static int set_up(void **state) {
    static struct rig rig;

    fixture_new(&rig.fixture);
    rig.disk = store_disk_new(VFS);
    rig.fixture.options.vfs = VFS;
    *state = &rig;
    return 0;
}

static int tear_down(void **state) {
    struct rig *rig = *state;

    fixture_end(&rig->fixture);
    store_disk_free(rig->disk);
    return 0;
}

static void start(struct rig *rig) {
    if (!fixture_open(&rig->fixture) || !fixture_start(&rig->fixture))
        fail_msg("%s", rig->fixture.err.text);
    assert_false(rig->fixture.recovery.damaged);
}

static void put_session(struct store_fixture *fixture, uint64_t number) {
    const struct stored_session session = { .number = number, .client_id = STR("client"), .user = STR(""), .version = 4 };

    store_put_session(fixture->store, &session);
}

static void wait_until_degraded(struct store_fixture *fixture, bool degraded, struct err *why) {
    int64_t until_ns = clock_mono_ns() + 20 * NS_PER_S;

    while (store_degraded(fixture->store, why) != degraded && clock_mono_ns() < until_ns) {
        nanosleep(&(struct timespec){ 0, 200000 }, NULL);
        fixture_turn(fixture);
    }
    err_clear(why);
    assert_true(store_degraded(fixture->store, why) == degraded);
}

/* ---- a disk that refuses ------------------------------------------------------------------------------------------- */

static void goes_on_after(struct rig *rig, int code, bool syncs_only, const char *words) {
    struct store_fixture *fixture = &rig->fixture;
    struct err why = ERR_INIT;
    struct publication *brief = make_publication("t", "brief"), *long_lived = make_publication("t", "stays");

    start(rig);
    put_session(fixture, 1);
    assert_true(fixture_write(fixture));
    uint64_t before = fixture->durable;

    store_disk_refuse(rig->disk, code, syncs_only);
    put_session(fixture, 2);
    store_put_publication(fixture->store, brief);
    uint64_t ticket = store_ticket(fixture->store);
    store_hand_over(fixture->store);
    wait_until_degraded(fixture, true, &why);
    if (strstr(why.text, words) == NULL)
        fail_msg("'%s' is not in: %s", words, why.text);
    assert_int_equal(fixture->durable, before);
    put_session(fixture, 3); /* what is told meanwhile comes on top */
    store_put_publication(fixture->store, long_lived);
    store_delete_publication(fixture->store, brief->number);
    store_hand_over(fixture->store);
    for (int i = 0; i < 50; i++) {
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
        fixture_turn(fixture);
    }
    assert_int_equal(fixture->durable, before);

    store_disk_refuse(rig->disk, 0, false);
    assert_true(fixture_wait(fixture, ticket)); /* by itself */
    assert_true(!store_has_changes(fixture->store) || fixture_write(fixture));
    wait_until_degraded(fixture, false, &why);
    fixture_close(fixture);
    start(rig);
    assert_string_equal(buf_cstr(&fixture->text),
                        "publication 2 t=stays properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                        "session 1 client user= version=4 expiry=0 ended=0 will=0,0,0\n"
                        "session 2 client user= version=4 expiry=0 ended=0 will=0,0,0\n"
                        "session 3 client user= version=4 expiry=0 ended=0 will=0,0,0\n");
    publication_unref(brief);
    publication_unref(long_lived);
}

static void a_full_disk_is_waited_for(void **state) {
    goes_on_after(*state, SQLITE_FULL, false, "no space left on its disk");
}

static void write_errors_are_waited_for(void **state) {
    goes_on_after(*state, SQLITE_IOERR_WRITE, false, "cannot write to");
}

/* Nothing is told by a sync that failed, and what it left is written again. */
static void sync_errors_are_waited_for(void **state) {
    goes_on_after(*state, SQLITE_IOERR_FSYNC, true, "cannot write to");
}

static void stop_gives_up_in_time(void **state) {
    struct rig *rig = *state;
    int64_t began_ns;

    start(rig);
    put_session(&rig->fixture, 1);
    store_disk_refuse(rig->disk, SQLITE_FULL, false);
    began_ns = clock_mono_ns();
    assert_false(store_stop(rig->fixture.store, 300 * NS_PER_MS));
    assert_in_range(clock_mono_ns() - began_ns, 100 * NS_PER_MS, 5 * NS_PER_S);
}

static void stop_waits_for_a_disk_that_comes_back(void **state) {
    struct rig *rig = *state;

    start(rig);
    put_session(&rig->fixture, 1);
    store_disk_refuse(rig->disk, SQLITE_FULL, false);
    store_hand_over(rig->fixture.store);
    wait_until_degraded(&rig->fixture, true, &(struct err)ERR_INIT);
    store_disk_refuse(rig->disk, 0, false);
    assert_true(store_stop(rig->fixture.store, 10 * NS_PER_S));
    fixture_close(&rig->fixture);
    start(rig);
    assert_int_equal(rig->fixture.recovery.connected, 1); /* expiry_s is 0 */
}

static void a_start_on_a_disk_that_refuses_says_so(void **state) {
    struct rig *rig = *state;

    store_disk_refuse(rig->disk, SQLITE_FULL, false);
    assert_false(fixture_open(&rig->fixture));
    assert_non_null(strstr(rig->fixture.err.text, "no space left"));
    store_disk_refuse(rig->disk, 0, false);
    start(rig);
}

/* ---- told after the sync ------------------------------------------------------------------------------------------- */

static uint64_t steps(struct store_disk *disk) {
    uint64_t count;

    pthread_mutex_lock(&disk->lock);
    count = disk->steps;
    pthread_mutex_unlock(&disk->lock);
    return count;
}

static uint64_t syncs(struct store_disk *disk) {
    uint64_t count;

    pthread_mutex_lock(&disk->lock);
    count = disk->syncs;
    pthread_mutex_unlock(&disk->lock);
    return count;
}

static void tickets_come_after_the_sync(void **state) {
    struct rig *rig = *state;

    for (int sync = 1; sync >= 0; sync--) {
        rig->fixture.options.sync = sync;
        start(rig);
        for (uint64_t i = 1; i < 20; i++) {
            uint64_t before = syncs(rig->disk);
            put_session(&rig->fixture, i);
            assert_true(fixture_write(&rig->fixture));
            if (i > 1) /* the first one begins a log */
                assert_true((syncs(rig->disk) > before) == (sync != 0));
        }
        fixture_close(&rig->fixture);
    }
}

/* ---- power failures ------------------------------------------------------------------------------------------------ */

enum { GROUPS_MAX = 64, PER_GROUP = 4, KEPT = 12 };

/* What the store is told, group by group, and what it has to say afterwards. */
struct story {
    struct rig *rig;
    size_t payload;
    unsigned groups; /* told so far, and tickets of them */
    uint64_t tickets[GROUPS_MAX + 1];
    struct buf states[GROUPS_MAX + 1]; /* [0]: nothing */
    struct { uint64_t publication, delivery; bool sent; } kept[KEPT];
    unsigned kept_count;
    char *text;
};

static void write_state(const struct story *story, struct buf *out, unsigned group) {
    for (unsigned i = 0; i < story->kept_count; i++)
        buf_printf(out, "publication %llu t=%s properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n",
                   (unsigned long long)story->kept[i].publication, story->text);
    buf_printf(out, "session 1 client user= version=4 expiry=%u ended=0 will=0,0,0\nsubscription 1 x qos=1 nl=0 rap=0 rh=0 id=%u\nreceived 1 %u\n", group, group,
               group);
    for (unsigned i = 0; i < story->kept_count; i++)
        buf_printf(out, "delivery %llu to=1 of=%llu qos=2 retain=0 id=%u state=%d ids=\n", (unsigned long long)story->kept[i].delivery,
                   (unsigned long long)story->kept[i].publication, story->kept[i].sent, story->kept[i].sent);
}

static void drop_oldest(struct story *story) {
    struct store *store = story->rig->fixture.store;

    store_delete_delivery(store, story->kept[0].delivery);
    store_delete_publication(store, story->kept[0].publication);
    memmove(&story->kept[0], &story->kept[1], --story->kept_count * sizeof story->kept[0]);
}

static void tell_group(struct story *story) {
    struct store *store = story->rig->fixture.store;
    unsigned group = ++story->groups;
    const struct stored_session session = { .number = 1, .client_id = STR("client"), .user = STR(""), .version = 4, .expiry_s = group };
    const struct subscription_terms terms = { .qos = 1, .identifier = group };

    store_put_session(store, &session);
    store_put_subscription(store, 1, STR("x"), &terms);
    if (group > 1)
        store_delete_received(store, 1, (uint16_t)(group - 1));
    store_put_received(store, 1, (uint16_t)group);
    for (unsigned i = 0; i < PER_GROUP; i++) {
        struct publication *publication = make_publication("t", story->text);
        if (story->kept_count == KEPT)
            drop_oldest(story);
        store_put_publication(store, publication);
        struct stored_delivery delivery = { .session = 1, .publication = publication->number, .qos = 2 };
        uint64_t number = store_put_delivery(store, &delivery);
        story->kept[story->kept_count].publication = publication->number;
        story->kept[story->kept_count].sent = false;
        story->kept[story->kept_count++].delivery = number;
        publication_unref(publication);
    }
    for (unsigned i = 0; i < story->kept_count; i += 3) {
        const struct stored_delivery sent = { .session = 1, .number = story->kept[i].delivery, .publication = story->kept[i].publication, .qos = 2,
                                              .packet_id = 1, .state = DELIVERY_SENT };
        store_update_delivery(store, &sent);
        story->kept[i].sent = true;
    }
    story->tickets[group] = store_ticket(store);
    write_state(story, &story->states[group], group);
}

/* False: the power is off. */
static bool write_on(struct story *story) {
    struct store_fixture *fixture = &story->rig->fixture;

    store_hand_over(fixture->store);
    while (fixture->durable < story->tickets[story->groups]) {
        if (store_degraded(fixture->store, NULL))
            return false;
        nanosleep(&(struct timespec){ 0, 20000 }, NULL);
        fixture_turn(fixture);
    }
    return true;
}

static void expect_a_whole_group(struct story *story, uint64_t durable, uint64_t stop_at) {
    struct store_fixture *fixture = &story->rig->fixture;
    unsigned least = 0, found = story->groups + 1;

    while (least < story->groups && story->tickets[least + 1] <= durable)
        least++;
    for (unsigned group = 0; group <= story->groups; group++)
        if (strcmp(buf_cstr(&story->states[group]), buf_cstr(&fixture->text)) == 0)
            found = group;
    if (found > story->groups)
        fail_msg("power off at step %llu: what is there is no group of %u:\n%.2000s", (unsigned long long)stop_at, story->groups, buf_cstr(&fixture->text));
    if (found < least)
        fail_msg("power off at step %llu: group %u was told to be durable, and %u is there", (unsigned long long)stop_at, least, found);
    assert_int_equal(fixture->recovery.orphans, 0);
}

/* False: the story ended before the power did. */
static bool fails_at(struct rig *rig, uint64_t stop_at, unsigned groups, size_t payload, uint64_t *random) {
    struct store_fixture *fixture = &rig->fixture;
    struct story story = { .rig = rig, .payload = payload, .text = malloc(payload + 1) };
    bool on = true;

    memset(story.text, 'x', payload);
    story.text[payload] = '\0';
    for (unsigned i = 0; i <= GROUPS_MAX; i++)
        story.states[i] = (struct buf)BUF_INIT(1 << 26);
    rig->disk->stop_at = stop_at;
    fixture->durable = 0;
    if (fixture_open(fixture)) {
        assert_true(fixture_start(fixture));
        while (on && story.groups < groups) {
            tell_group(&story);
            on = write_on(&story);
        }
        if (on) /* checkpoints are between groups */
            on = steps(rig->disk) < stop_at;
    } else {
        on = false;
    }
    uint64_t durable = fixture->durable;
    fixture_close(fixture);
    store_disk_crash(rig->disk, random);
    start(rig);
    expect_a_whole_group(&story, durable, stop_at);
    put_session(fixture, 77); /* and it goes on */
    assert_true(fixture_write(fixture));
    fixture_close(fixture);
    for (unsigned i = 0; i <= GROUPS_MAX; i++)
        buf_release(&story.states[i]);
    free(story.text);
    return !on;
}

static void power_fails(void **state, unsigned groups, size_t payload, unsigned step) {
    struct rig *rig = *state;
    uint64_t random = 88172645463325252, at = 1;
    unsigned failures = 0;

    for (;; at += 1 + (step > 1 ? disk_random(&random) % step : 0)) {
        bool failed = fails_at(rig, at, groups, payload, &random);
        store_disk_free(rig->disk);
        rig->disk = store_disk_new(VFS);
        if (!failed)
            break;
        failures++;
    }
    print_message("             %u power failures within %llu steps\n", failures, (unsigned long long)at);
    assert_true(failures >= 20);
}

static void power_fails_at_every_step(void **state) {
    power_fails(state, 12, 5, 1);
}

/* Overflow pages, and enough of them that the log goes into the database and begins anew. */
static void power_fails_around_checkpoints(void **state) {
    const char *scale = getenv("HELIOGRAF_SCALE");

    power_fails(state, 40, 40000, scale != NULL && atof(scale) < 1 ? 300 : 90);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(write_errors_are_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sync_errors_are_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stop_gives_up_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stop_waits_for_a_disk_that_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_on_a_disk_that_refuses_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tickets_come_after_the_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(power_fails_at_every_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(power_fails_around_checkpoints, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
