/* tests/unit/test_store.c: what the store is told comes back after it was written, and only then; what undid itself is never written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "tests/support/store_fixture.h"

static int set_up(void **state) {
    static struct store_fixture fixture;

    fixture_new(&fixture);
    *state = &fixture;
    return fixture_open(&fixture) && fixture_start(&fixture) ? 0 : -1;
}

static int tear_down(void **state) {
    fixture_end(*state);
    return 0;
}

static void reopen(struct store_fixture *fixture) {
    fixture_close(fixture);
    if (!fixture_open(fixture) || !fixture_start(fixture))
        fail_msg("%s", fixture->err.text);
    assert_false(fixture->recovery.damaged);
}

static void expect_text(struct store_fixture *fixture, const char *want) {
    if (strcmp(buf_cstr(&fixture->text), want) != 0)
        fail_msg("read\n%s\ninstead of\n%s", buf_cstr(&fixture->text), want);
}

static struct stored_session make_session(uint64_t number, const char *client_id) {
    return (struct stored_session){ .number = number, .client_id = str_of(client_id), .user = STR("bert"), .version = 5, .expiry_s = UINT32_MAX,
                                    .ended_ns = 12 };
}

static void everything_comes_back(void **state) {
    struct store_fixture *fixture = *state;
    const struct subscription_terms terms = { 2, true, true, 2, 268435455 }, plain = { .qos = 0 };
    struct stored_session session = make_session(7, "a"), other = make_session(8, "b");
    struct publication *publication = make_publication("t/1", "21.5"), *will = make_publication("t/2", "");
    struct stored_delivery delivery = { .session = 7, .qos = 2, .retain = true, .packet_id = 65535, .state = DELIVERY_RECEIVED,
                                        .subscription_ids = STR("ids") };

    store_put_publication(fixture->store, publication);
    store_put_publication(fixture->store, will);
    session.has_will = true;
    session.will = will->number;
    session.will_delay_s = 30;
    store_put_session(fixture->store, &session);
    store_put_session(fixture->store, &other);
    store_put_subscription(fixture->store, 7, STR("plant/+/#"), &terms);
    store_put_subscription(fixture->store, 8, STR("$share/g/x"), &plain);
    store_put_received(fixture->store, 8, 1);
    store_put_received(fixture->store, 8, 65535);
    delivery.publication = publication->number;
    assert_int_equal(store_put_delivery(fixture->store, &delivery), 3);
    delivery = (struct stored_delivery){ .session = 8, .publication = publication->number, .qos = 1 };
    assert_int_equal(store_put_delivery(fixture->store, &delivery), 4);
    store_put_retained(fixture->store, publication->number);
    store_put_delayed(fixture->store, publication->number, 1234567890123456789);
    assert_int_equal(publication->number, 1);
    publication_unref(publication); /* held by the group */
    publication_unref(will);
    assert_true(fixture_write(fixture));
    reopen(fixture);
    expect_text(fixture, "publication 1 t/1=21.5 properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                         "publication 2 t/2= properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                         "session 7 a user=bert version=5 expiry=4294967295 ended=12 will=1,30,2\n"
                         "session 8 b user=bert version=5 expiry=4294967295 ended=12 will=0,0,0\n"
                         "subscription 7 plant/+/# qos=2 nl=1 rap=1 rh=2 id=268435455\n"
                         "subscription 8 $share/g/x qos=0 nl=0 rap=0 rh=0 id=0\n"
                         "received 8 1\n"
                         "received 8 65535\n"
                         "retained 1\n"
                         "delayed 1 due=1234567890123456789\n"
                         "delivery 3 to=7 of=1 qos=2 retain=1 id=65535 state=2 ids=ids\n"
                         "delivery 4 to=8 of=1 qos=1 retain=0 id=0 state=0 ids=\n");
    assert_int_equal(fixture->recovery.publications, 2);
    assert_int_equal(fixture->recovery.sessions, 2);
    assert_int_equal(fixture->recovery.subscriptions, 2);
    assert_int_equal(fixture->recovery.received, 2);
    assert_int_equal(fixture->recovery.deliveries, 2);
    assert_int_equal(fixture->recovery.retained, 1);
    assert_int_equal(fixture->recovery.delayed, 1);
    assert_int_equal(fixture->recovery.orphans, 0);
}


/* ---- changes ------------------------------------------------------------------------------------------------------- */

static uint64_t put_publication(struct store_fixture *fixture, const char *topic, const char *payload) {
    struct publication *publication = make_publication(topic, payload);
    uint64_t number;

    store_put_publication(fixture->store, publication);
    number = publication->number;
    publication_unref(publication);
    return number;
}

static uint64_t put_delivery(struct store_fixture *fixture, uint64_t session, uint64_t publication) {
    const struct stored_delivery delivery = { .session = session, .publication = publication, .qos = 1 };

    return store_put_delivery(fixture->store, &delivery);
}

static void put_session(struct store_fixture *fixture, uint64_t number, const char *client_id) {
    const struct stored_session session = make_session(number, client_id);

    store_put_session(fixture->store, &session);
}

static void write_and_reopen(struct store_fixture *fixture) {
    if (!fixture_write(fixture))
        fail_msg("not written");
    reopen(fixture);
}

static void each_kind_is_changed_and_deleted(void **state) {
    struct store_fixture *fixture = *state;
    struct subscription_terms terms = { .qos = 1 };
    struct stored_session session = make_session(7, "a");
    uint64_t publication = put_publication(fixture, "t/1", "one"), other = put_publication(fixture, "t/2", "two");
    struct stored_delivery delivery = { .session = 7, .publication = publication, .qos = 2 };

    put_session(fixture, 7, "a");
    put_session(fixture, 8, "b");
    store_put_subscription(fixture->store, 7, STR("x"), &terms);
    store_put_subscription(fixture->store, 7, STR("y"), &terms);
    store_put_received(fixture->store, 7, 5);
    store_put_received(fixture->store, 7, 6);
    delivery.number = store_put_delivery(fixture->store, &delivery);
    uint64_t gone = put_delivery(fixture, 7, other);
    store_put_retained(fixture->store, publication);
    store_put_retained(fixture->store, other);
    store_put_delayed(fixture->store, publication, 55);
    store_put_delayed(fixture->store, other, 66);
    write_and_reopen(fixture);

    session.user = STR("carla");
    session.ended_ns = 99;
    store_put_session(fixture->store, &session);
    terms.qos = 2;
    terms.identifier = 17;
    store_put_subscription(fixture->store, 7, STR("x"), &terms);
    delivery.packet_id = 4711;
    delivery.state = DELIVERY_SENT;
    store_update_delivery(fixture->store, &delivery);
    store_delete_session(fixture->store, 8);
    store_delete_subscription(fixture->store, 7, STR("y"));
    store_delete_received(fixture->store, 7, 5);
    store_delete_delivery(fixture->store, gone);
    store_delete_retained(fixture->store, publication);
    store_delete_delayed(fixture->store, other);
    write_and_reopen(fixture);
    expect_text(fixture, "publication 1 t/1=one properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                         "publication 2 t/2=two properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                         "session 7 a user=carla version=5 expiry=4294967295 ended=99 will=0,0,0\n"
                         "subscription 7 x qos=2 nl=0 rap=0 rh=0 id=17\n"
                         "received 7 6\n"
                         "delayed 1 due=55\n"
                         "retained 2\n"
                         "delivery 3 to=7 of=1 qos=2 retain=0 id=4711 state=1 ids=\n");

    store_delete_delayed(fixture->store, publication);
    store_delete_retained(fixture->store, other);
    store_delete_delivery(fixture->store, delivery.number);
    store_delete_publication(fixture->store, publication);
    store_delete_publication(fixture->store, other);
    store_delete_session(fixture->store, 7); /* and what is left of it */
    write_and_reopen(fixture);
    expect_text(fixture, "");
    assert_int_equal(fixture->recovery.orphans, 0);
}

static void deletions_of_what_is_not_there_are_fine(void **state) {
    struct store_fixture *fixture = *state;

    store_delete_session(fixture->store, 1);
    store_delete_subscription(fixture->store, 1, STR("x"));
    store_delete_received(fixture->store, 1, 1);
    store_delete_publication(fixture->store, 1);
    store_delete_delivery(fixture->store, 1);
    store_delete_retained(fixture->store, 1);
    store_delete_delayed(fixture->store, 1);
    write_and_reopen(fixture);
    expect_text(fixture, "");
}

/* ---- within a group ------------------------------------------------------------------------------------------------ */

struct wanted {
    const char *name;
    double value;
};

static void see_sample(void *ctx, const struct metric_desc *desc, const struct metric_label *labels, size_t label_count, double value) {
    struct wanted *wanted = ctx;

    (void)labels;
    (void)label_count;
    if (strcmp(desc->name, wanted->name) == 0)
        wanted->value = value;
}

static double figure(struct store_fixture *fixture, const char *name) {
    struct wanted wanted = { name, -1 };
    const struct metric_writer writer = { .ctx = &wanted, .sample = see_sample };

    store_collect(fixture->store, &writer);
    return wanted.value;
}

static void what_undid_itself_is_not_written(void **state) {
    struct store_fixture *fixture = *state;
    double groups;

    put_session(fixture, 7, "a");
    assert_true(fixture_write(fixture));
    groups = figure(fixture, "broker_store_groups_total");

    uint64_t publication = put_publication(fixture, "t/1", "x"), number = put_delivery(fixture, 7, publication);
    const struct stored_delivery sent = { .session = 7, .number = number, .publication = publication, .qos = 1, .packet_id = 1, .state = DELIVERY_SENT };
    store_update_delivery(fixture->store, &sent);
    store_put_retained(fixture->store, publication);
    store_put_delayed(fixture->store, publication, 5);
    store_put_received(fixture->store, 7, 9);
    store_delete_received(fixture->store, 7, 9);
    store_delete_delayed(fixture->store, publication);
    store_delete_retained(fixture->store, publication);
    store_delete_delivery(fixture->store, number);
    store_delete_publication(fixture->store, publication);
    assert_true(store_has_changes(fixture->store)); /* somebody may wait for the ticket */
    assert_true(fixture_write(fixture));            /* and hears of it */
    assert_true(figure(fixture, "broker_store_groups_total") == groups);
    assert_true(figure(fixture, "broker_store_undone_changes_total") == 10);
    assert_false(store_has_changes(fixture->store));
    reopen(fixture);
    expect_text(fixture, "session 7 a user=bert version=5 expiry=4294967295 ended=12 will=0,0,0\n");
}

/* Of what is on disk already, the last word counts. */
static void the_last_word_counts_within_a_group(void **state) {
    struct store_fixture *fixture = *state;
    const struct subscription_terms first = { .qos = 1 }, second = { .qos = 2 };

    put_session(fixture, 7, "a");
    store_put_subscription(fixture->store, 7, STR("on/disk"), &first);
    store_put_received(fixture->store, 7, 1);
    put_session(fixture, 8, "b");
    store_put_subscription(fixture->store, 8, STR("goes"), &first);
    write_and_reopen(fixture);
    store_delete_subscription(fixture->store, 7, STR("on/disk"));
    store_put_subscription(fixture->store, 7, STR("on/disk"), &second);
    store_put_subscription(fixture->store, 7, STR("new"), &first);
    store_put_subscription(fixture->store, 7, STR("new"), &second);
    store_put_subscription(fixture->store, 7, STR("brief"), &second);
    store_delete_subscription(fixture->store, 7, STR("brief"));
    store_delete_received(fixture->store, 7, 1);
    store_put_received(fixture->store, 7, 1);
    store_put_received(fixture->store, 7, 2);
    store_delete_received(fixture->store, 7, 1);
    store_put_subscription(fixture->store, 8, STR("goes/too"), &first); /* told before its session's end, so it ends with it */
    store_delete_session(fixture->store, 8);
    write_and_reopen(fixture);
    expect_text(fixture, "session 7 a user=bert version=5 expiry=4294967295 ended=12 will=0,0,0\n"
                         "subscription 7 new qos=2 nl=0 rap=0 rh=0 id=0\n"
                         "subscription 7 on/disk qos=2 nl=0 rap=0 rh=0 id=0\n"
                         "received 7 2\n");
    assert_int_equal(fixture->recovery.orphans, 0);
}

static void deliveries_keep_their_order(void **state) {
    struct store_fixture *fixture = *state;
    struct buf want = BUF_INIT(1 << 20);
    uint64_t publications[20], numbers[40];

    put_session(fixture, 1, "a");
    put_session(fixture, 2, "b");
    for (int i = 0; i < 20; i++) {
        publications[i] = put_publication(fixture, "t", "x");
        numbers[2 * i] = put_delivery(fixture, 1 + i % 2, publications[i]);
        numbers[2 * i + 1] = put_delivery(fixture, 2 - i % 2, publications[i]);
        if (i % 3 == 0)
            assert_true(fixture_write(fixture));
    }
    for (int i = 39; i >= 0; i -= 2) { /* does not put it last */
        const struct stored_delivery sent = { .session = 2 - i / 2 % 2, .number = numbers[i], .publication = publications[i / 2], .qos = 1,
                                              .packet_id = 7, .state = DELIVERY_SENT };
        store_update_delivery(fixture->store, &sent);
    }
    write_and_reopen(fixture);
    for (int i = 0; i < 40; i++)
        buf_printf(&want, "delivery %llu to=%d of=%llu qos=1 retain=0 id=%d state=%d ids=\n", (unsigned long long)numbers[i],
                   i % 2 == 0 ? 1 + i / 2 % 2 : 2 - i / 2 % 2, (unsigned long long)publications[i / 2], i % 2 * 7, i % 2);
    if (strstr(buf_cstr(&fixture->text), buf_cstr(&want)) == NULL)
        fail_msg("another order:\n%s", buf_cstr(&fixture->text));
    assert_true(put_publication(fixture, "t", "later") > numbers[39]); /* numbers go on */
    buf_release(&want);
}

/* ---- what fits together -------------------------------------------------------------------------------------------- */

static void orphans_are_counted_and_deleted(void **state) {
    struct store_fixture *fixture = *state;
    const struct subscription_terms terms = { .qos = 1 };
    struct stored_session session = make_session(7, "a");
    uint64_t publication = put_publication(fixture, "t", "x");

    session.has_will = true;
    session.will = 900;
    store_put_session(fixture->store, &session);
    put_delivery(fixture, 7, 901);         /* no such publication */
    put_delivery(fixture, 55, publication); /* no such session */
    store_put_retained(fixture->store, 902);
    store_put_delayed(fixture->store, 903, 1);
    store_put_subscription(fixture->store, 56, STR("x"), &terms);
    store_put_received(fixture->store, 57, 1);
    write_and_reopen(fixture);
    expect_text(fixture, "publication 1 t=x properties=pp from=press-1/anna qos=1 retain=1 expires=77 published=-5\n"
                         "session 7 a user=bert version=5 expiry=4294967295 ended=12 will=0,0,0\n");
    assert_int_equal(fixture->recovery.orphans, 7);
    assert_true(store_has_changes(fixture->store));
    assert_true(put_publication(fixture, "t", "new") > 903); /* never the number of one that somebody refers to */
    store_put_session(fixture->store, &(struct stored_session){ .number = 7, .client_id = STR("a"), .version = 4 });
    write_and_reopen(fixture);
    assert_int_equal(fixture->recovery.orphans, 0);
}

static void expiry_is_not_the_stores_business(void **state) {
    struct store_fixture *fixture = *state;
    const struct publication_parts parts = { .topic = STR("t"), .payload = STR("old"), .qos = 2, .expires_ns = 1, .published_ns = 0 };
    struct publication *publication = publication_new(&parts);
    struct stored_session session = make_session(7, "a");

    session.expiry_s = 1;
    session.ended_ns = 1;
    store_put_session(fixture->store, &session);
    store_put_publication(fixture->store, publication);
    publication_unref(publication);
    store_put_retained(fixture->store, 1);
    write_and_reopen(fixture);
    expect_text(fixture, "publication 1 t=old properties= from=/ qos=2 retain=0 expires=1 published=0\n"
                         "session 7 a user=bert version=5 expiry=1 ended=1 will=0,0,0\n"
                         "retained 1\n");
}

/* ---- limits -------------------------------------------------------------------------------------------------------- */

static void wait_until_full(struct store_fixture *fixture, bool full) {
    int64_t until_ns = clock_mono_ns() + 20 * NS_PER_S;

    while (store_is_full(fixture->store) != full && clock_mono_ns() < until_ns) {
        nanosleep(&(struct timespec){ 0, 200000 }, NULL);
        fixture_turn(fixture);
    }
    assert_true(store_is_full(fixture->store) == full);
}

static void max_bytes_is_reached_and_left_again(void **state) {
    struct store_fixture *fixture = *state;
    char payload[10001];
    uint64_t count = 0, first = 0;

    fixture_close(fixture);
    fixture->options.max_bytes = 2 << 20;
    assert_true(fixture_open(fixture) && fixture_start(fixture));
    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = '\0';
    assert_false(store_is_full(fixture->store));
    while (!store_is_full(fixture->store) && count < 1000) {
        uint64_t number = put_publication(fixture, "t", payload);
        first = first == 0 ? number : first;
        count++;
        if (count % 10 == 0)
            assert_true(fixture_write(fixture));
    }
    assert_in_range(count, 140, 210); /* 2 MiB of pages, each message in three */
    assert_true(!store_has_changes(fixture->store) || fixture_write(fixture)); /* the last one was just written, or not */
    wait_until_full(fixture, true);
    put_publication(fixture, "t", payload); /* kept all the same */
    assert_true(fixture_write(fixture));
    for (uint64_t i = 0; i <= count / 2; i++)
        store_delete_publication(fixture->store, first + i);
    assert_true(fixture_write(fixture));
    wait_until_full(fixture, false);
    reopen(fixture);
    assert_int_equal(fixture->recovery.publications, count + 1 - (count / 2 + 1));
}

static void what_waits_has_a_limit_too(void **state) {
    struct store_fixture *fixture = *state;
    size_t size = 1 << 20;
    char *payload = malloc(size + 1);

    memset(payload, 'x', size);
    payload[size] = '\0';
    for (int i = 0; i < 60; i++)
        put_publication(fixture, "t", payload);
    assert_false(store_is_full(fixture->store));
    for (int i = 0; i < 8; i++)
        put_publication(fixture, "t", payload);
    assert_true(store_is_full(fixture->store));
    assert_true(fixture_write(fixture));
    wait_until_full(fixture, false);
    free(payload);
}

static void a_group_waits_for_more(void **state) {
    struct store_fixture *fixture = *state;
    int64_t began_ns;

    fixture_close(fixture);
    fixture->options.group_ns = 300 * NS_PER_MS;
    assert_true(fixture_open(fixture) && fixture_start(fixture));
    began_ns = clock_mono_ns();
    put_session(fixture, 7, "a");
    store_hand_over(fixture->store);
    uint64_t ticket = store_ticket(fixture->store);
    put_session(fixture, 8, "b");
    assert_int_equal(store_ticket(fixture->store), ticket); /* still the same group */
    assert_true(fixture_write(fixture));
    assert_true(clock_mono_ns() - began_ns >= 300 * NS_PER_MS);
    assert_true(figure(fixture, "broker_store_groups_total") == 1);
}

/* ---- the start and the end ----------------------------------------------------------------------------------------- */

static void expect_refusal(struct store_fixture *fixture, const char *words) {
    assert_false(fixture_open(fixture));
    if (strstr(fixture->err.text, words) == NULL)
        fail_msg("'%s' is not in: %s", words, fixture->err.text);
    assert_false(fixture->recovery.damaged);
}

static void run_sql(struct store_fixture *fixture, const char *sql) {
    char path[128];
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/broker.db", fixture->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_newer_version_is_refused_and_left_alone(void **state) {
    struct store_fixture *fixture = *state;

    put_session(fixture, 7, "a");
    assert_true(fixture_write(fixture));
    fixture_close(fixture);
    run_sql(fixture, "PRAGMA user_version = 2");
    expect_refusal(fixture, "is of version 2, this program knows 1: start the program that wrote it, or move the file away");
    run_sql(fixture, "PRAGMA user_version = 1");
    assert_true(fixture_open(fixture) && fixture_start(fixture));
    expect_text(fixture, "session 7 a user=bert version=5 expiry=4294967295 ended=12 will=0,0,0\n");
}

/* The lock is one of the open directory, so a second opening within this process is as good as another process. */
static void a_second_one_is_refused(void **state) {
    struct store_fixture *fixture = *state, second = *fixture;

    second.text = (struct buf)BUF_INIT(1 << 20);
    assert_false(fixture_open(&second));
    assert_non_null(strstr(second.err.text, "is in use"));
    buf_release(&second.text);
    put_session(fixture, 7, "a");
    assert_true(fixture_write(fixture)); /* the first goes on */
}

static void an_unusable_directory_is_refused(void **state) {
    struct store_fixture *fixture = *state;
    char path[700], file[128];

    fixture_close(fixture);
    snprintf(file, sizeof file, "%s/broker.db", fixture->directory);
    fixture->options.directory = "/nowhere/at/all";
    expect_refusal(fixture, "cannot open the broker's directory /nowhere/at/all: No such file or directory");
    fixture->options.directory = file;
    expect_refusal(fixture, "Not a directory");
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    fixture->options.directory = path;
    expect_refusal(fixture, "too long");
    fixture->options.directory = fixture->directory;
    assert_int_equal(remove(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    expect_refusal(fixture, "Is a directory");
    assert_int_equal(rmdir(file), 0);
}

static void files_are_private(void **state) {
    static const char *const names[] = { "broker.db", "broker.db-wal" };
    struct store_fixture *fixture = *state;
    struct stat found;
    char path[128];

    umask(0);
    fixture_close(fixture);
    snprintf(path, sizeof path, "%s/broker.db", fixture->directory);
    assert_int_equal(chmod(path, 0666), 0); /* a copy that somebody put there */
    assert_true(fixture_open(fixture) && fixture_start(fixture));
    put_session(fixture, 7, "a");
    assert_true(fixture_write(fixture));
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture->directory, names[i]);
        assert_int_equal(stat(path, &found), 0);
        assert_int_equal(found.st_mode & 0777, 0600);
    }
    fixture_close(fixture);
    snprintf(path, sizeof path, "%s/broker.db", fixture->directory);
    assert_int_equal(remove(path), 0);
    assert_true(fixture_open(fixture) && fixture_start(fixture));
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
}

static void stop_writes_what_is_left(void **state) {
    struct store_fixture *fixture = *state;

    put_session(fixture, 7, "a");
    store_hand_over(fixture->store);
    put_session(fixture, 8, "b"); /* not handed over */
    uint64_t ticket = store_ticket(fixture->store);
    assert_true(store_stop(fixture->store, 10 * NS_PER_S));
    assert_true(fixture->durable >= ticket);
    reopen(fixture);
    assert_int_equal(fixture->recovery.sessions, 2);
}

static void close_without_stop_writes_nothing_more(void **state) {
    struct store_fixture *fixture = *state;

    put_session(fixture, 7, "a");
    assert_true(fixture_write(fixture));
    put_session(fixture, 8, "b");
    reopen(fixture);
    assert_int_equal(fixture->recovery.sessions, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_kind_is_changed_and_deleted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deletions_of_what_is_not_there_are_fine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_undid_itself_is_not_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_word_counts_within_a_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deliveries_keep_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orphans_are_counted_and_deleted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(expiry_is_not_the_stores_business, set_up, tear_down),
        cmocka_unit_test_setup_teardown(max_bytes_is_reached_and_left_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_has_a_limit_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_waits_for_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_version_is_refused_and_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_one_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unusable_directory_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_are_private, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stop_writes_what_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(close_without_stop_writes_nothing_more, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
