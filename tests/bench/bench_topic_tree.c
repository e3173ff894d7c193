/*
 * tests/bench/bench_topic_tree.c: subscriptions and retained messages beside a plain hash lookup of the whole topic in the same run: what a broker
 * without wildcards would pay. Names as sensors have them: `site/3/line/7/temp`. Topics are asked for in random order. One thread; the
 * best of several rounds, as the machine may be shared.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/base/hash_index.h"
#include "agent/broker/retained.h"
#include "agent/broker/topic_tree.h"

enum { ROUNDS = 7, LOOKUPS = 200000, TEXT = 48, NAMES = 10 };

static uint64_t random_state = 0x9E3779B97F4A7C15ULL;

static unsigned random_below(unsigned limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % limit);
}

/* Of the processor, as others run beside. */
static int64_t cpu_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static size_t heap_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Texts of one length limit, one after another. */
struct texts {
    char *data;
    uint16_t *lens;
    unsigned count;
};

static struct texts texts_new(unsigned count) {
    return (struct texts){ malloc((size_t)count * TEXT), malloc(count * sizeof(uint16_t)), count };
}

static void texts_free(struct texts *texts) {
    free(texts->data);
    free(texts->lens);
}

static struct str text_at(const struct texts *texts, unsigned i) {
    return str_make(texts->data + (size_t)i * TEXT, texts->lens[i]);
}

static const char *const names[NAMES] = { "temp", "press", "humid", "flow", "level", "speed", "power", "state", "alarm", "count" };

/* The ith of `count` sensors: ten names per line, and about as many sites as lines per site. */
static void set_sensor(struct texts *texts, unsigned i, unsigned count, const char *site, const char *line) {
    char site_text[12], line_text[12];
    unsigned lines = count / NAMES > 0 ? count / NAMES : 1, per_site = 1, at = i / NAMES;

    while (per_site * per_site < lines)
        per_site++;
    snprintf(site_text, sizeof site_text, "%u", at / per_site);
    snprintf(line_text, sizeof line_text, "%u", at % per_site);
    texts->lens[i] = (uint16_t)snprintf(texts->data + (size_t)i * TEXT, TEXT, "site/%s/line/%s/%s", site != NULL ? site : site_text,
                                        line != NULL ? line : line_text, names[i % NAMES]);
}

static struct texts sensors(unsigned count) {
    struct texts texts = texts_new(count);

    for (unsigned i = 0; i < count; i++)
        set_sensor(&texts, i, count, NULL, NULL);
    return texts;
}

static unsigned *shuffled(unsigned count, unsigned below) {
    unsigned *order = malloc(count * sizeof *order);

    for (unsigned i = 0; i < count; i++)
        order[i] = random_below(below);
    return order;
}

/* The reference: whole topics in an open-addressing table, with the hash that the tree uses not at all. */
static struct hash_index plain_new(const struct texts *topics) {
    struct hash_index index = { .items = NULL };

    for (unsigned i = 0; i < topics->count; i++) {
        if (!hash_index_reserve(&index))
            exit(1);
        hash_index_put(&index, (uint32_t)str_hash(text_at(topics, i)), topics->lens + i);
    }
    return index;
}

static bool plain_has(const struct hash_index *index, const struct texts *topics, struct str topic) {
    const uint16_t *found;

    for (struct hash_probe at = hash_index_probe(index, (uint32_t)str_hash(topic)); (found = hash_index_next(index, &at)) != NULL;)
        if (str_eq(text_at(topics, (unsigned)(found - topics->lens)), topic))
            return true;
    return false;
}

static void count_matched(void *ctx, void *subscriber, const struct subscription_terms *terms) {
    (void)subscriber;
    (void)terms;
    ++*(uint64_t *)ctx;
}

static void count_shared(void *ctx, struct topic_group *group) {
    (void)group;
    ++*(uint64_t *)ctx;
}

/* Nanoseconds per lookup, the best round. */
static double match_time(const struct topic_tree *tree, const struct texts *topics, const unsigned *order, double *met_each) {
    double best = 1e9;
    uint64_t met = 0;
    const struct topic_match match = { &met, count_matched, count_shared };

    for (int round = 0; round < ROUNDS; round++) {
        met = 0;
        int64_t began_ns = cpu_ns();
        for (unsigned i = 0; i < LOOKUPS; i++)
            topic_tree_match(tree, text_at(topics, order[i]), &match);
        double took = (double)(cpu_ns() - began_ns) / LOOKUPS;
        best = took < best ? took : best;
    }
    *met_each = (double)met / LOOKUPS;
    return best;
}

static double plain_time(const struct hash_index *index, const struct texts *topics, const unsigned *order) {
    double best = 1e9;
    unsigned found = 0;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t began_ns = cpu_ns();
        for (unsigned i = 0; i < LOOKUPS; i++)
            found += plain_has(index, topics, text_at(topics, order[i]));
        double took = (double)(cpu_ns() - began_ns) / LOOKUPS;
        best = took < best ? took : best;
    }
    if (found != (unsigned)ROUNDS * LOOKUPS)
        exit(1);
    return best;
}

static const struct subscription_terms terms = { .qos = 1 };

static double add_all(struct topic_tree *tree, const struct texts *filters) {
    int64_t began_ns = cpu_ns();

    for (unsigned i = 0; i < filters->count; i++)
        if (topic_tree_add(tree, text_at(filters, i), STR_EMPTY, tree, &terms) == TOPIC_TREE_NO_MEMORY)
            exit(1);
    return (double)(cpu_ns() - began_ns) / filters->count;
}

static double remove_all(struct topic_tree *tree, const struct texts *filters) {
    int64_t began_ns = cpu_ns();

    for (unsigned i = 0; i < filters->count; i++)
        topic_tree_remove(tree, text_at(filters, i), STR_EMPTY, tree);
    return (double)(cpu_ns() - began_ns) / filters->count;
}

static void bench_filters(const char *kind, const struct texts *topics, const struct texts *filters) {
    size_t before = heap_bytes(), count;
    struct topic_tree *tree = topic_tree_new();
    unsigned *order = shuffled(LOOKUPS, topics->count);
    double met, add = add_all(tree, filters), match;

    count = topic_tree_count(tree);
    match = match_time(tree, topics, order, &met);
    printf("topic_match_%s_%u %.0f ns\n", kind, topics->count, match);
    printf("topic_match_met_%s_%u %.2f subscriptions\n", kind, topics->count, met);
    printf("topic_add_%s_%u %.0f ns\n", kind, topics->count, add);
    printf("topic_bytes_%s_%u %.1f bytes/subscription\n", kind, topics->count,
           (double)(heap_bytes() - before - LOOKUPS * sizeof *order) / (double)count);
    printf("topic_remove_%s_%u %.0f ns\n", kind, topics->count, remove_all(tree, filters));
    topic_tree_free(tree);
    free(order);
}

/* As many filters as sensors: each sensor's own; a tenth of them with + (one name of all sites, or of all lines of a site); with # of each line. */
static void bench_tree(unsigned count) {
    struct texts topics = sensors(count), plus = sensors(count), hash = sensors(count);
    struct hash_index plain = plain_new(&topics);
    unsigned *order = shuffled(LOOKUPS, count);

    printf("topic_plain_hash_%u %.0f ns\n", count, plain_time(&plain, &topics, order));
    for (unsigned i = 0; i < count; i += 10)
        set_sensor(&plus, i + i / 10 % 10 < count ? i + i / 10 % 10 : i, count, i % 20 == 0 ? "+" : NULL, i % 20 == 0 ? NULL : "+");
    for (unsigned i = 0; i < count; i += 10) {
        char *text = hash.data + (size_t)i * TEXT;
        hash.lens[i] = (uint16_t)(strrchr(text, '/') - text + 2);
        strcpy(strrchr(text, '/'), "/#");
    }
    bench_filters("literal", &topics, &topics);
    bench_filters("plus", &topics, &plus);
    bench_filters("hash", &topics, &hash);
    hash_index_release(&plain);
    free(order);
    texts_free(&topics);
    texts_free(&plus);
    texts_free(&hash);
}

/* Filters as devices have them, one of a kind per device. */
static void bench_shape(const char *name, const char *behind) {
    enum { COUNT = 100000 };
    size_t before = heap_bytes();
    struct topic_tree *tree = topic_tree_new();
    char text[64];

    for (unsigned i = 0; i < COUNT; i++)
        topic_tree_add(tree, str_make(text, (size_t)sprintf(text, "devices/%08u%s", i, behind)), STR_EMPTY, tree, &terms);
    printf("topic_bytes_%s %.1f bytes/subscription\n", name, (double)(heap_bytes() - before) / COUNT);
    topic_tree_free(tree);
}

/* The largest stop of one addition: the table of levels doubles now and then. */
static void bench_longest_addition(unsigned count) {
    struct texts topics = sensors(count);
    struct topic_tree *tree = topic_tree_new();
    int64_t longest_ns = 0;

    for (unsigned i = 0; i < count; i++) {
        int64_t began_ns = cpu_ns(), took_ns;
        topic_tree_add(tree, text_at(&topics, i), STR_EMPTY, tree, &terms);
        took_ns = cpu_ns() - began_ns;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
    }
    printf("topic_add_longest_%u %.2f ms\n", count, (double)longest_ns / NS_PER_MS);
    topic_tree_free(tree);
    texts_free(&topics);
}

/* All of a hundred thousand subscribers of one filter. */
static void bench_fan_out(void) {
    enum { COUNT = 100000 };
    struct topic_tree *tree = topic_tree_new();
    char *subscribers = malloc(COUNT);
    size_t before = heap_bytes();
    uint64_t met = 0;
    int64_t began_ns = cpu_ns();

    for (int i = 0; i < COUNT; i++)
        topic_tree_add(tree, STR("broadcast/#"), STR_EMPTY, &subscribers[i], &terms);
    printf("topic_fan_out_add %.0f ns\n", (double)(cpu_ns() - began_ns) / COUNT);
    printf("topic_fan_out_bytes %.1f bytes/subscription\n", (double)(heap_bytes() - before) / COUNT);
    began_ns = cpu_ns();
    topic_tree_match(tree, STR("broadcast/all"), &(struct topic_match){ &met, count_matched, count_shared });
    printf("topic_fan_out_match %.2f ns/subscription\n", (double)(cpu_ns() - began_ns) / (double)met);
    began_ns = cpu_ns();
    for (int i = 0; i < COUNT; i++)
        topic_tree_remove(tree, STR("broadcast/#"), STR_EMPTY, &subscribers[i]);
    printf("topic_fan_out_remove %.0f ns\n", (double)(cpu_ns() - began_ns) / COUNT);
    topic_tree_free(tree);
    free(subscribers);
}

/* Retained messages. */

static double set_all(struct retained *retained, struct publication **publications, const unsigned *order, unsigned count) {
    int64_t began_ns = cpu_ns();

    for (unsigned i = 0; i < count; i++)
        retained_set(retained, publications[order[i]]);
    return (double)(cpu_ns() - began_ns) / count;
}

static double get_time(const struct retained *retained, const struct texts *topics, const unsigned *order) {
    double best = 1e9;
    unsigned found = 0;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t began_ns = cpu_ns();
        for (unsigned i = 0; i < LOOKUPS; i++)
            found += retained_get(retained, text_at(topics, order[i])) != NULL;
        double took = (double)(cpu_ns() - began_ns) / LOOKUPS;
        best = took < best ? took : best;
    }
    if (found != (unsigned)ROUNDS * LOOKUPS)
        exit(1);
    return best;
}

static void walk_time(struct retained *retained, const char *name, const char *filter) {
    struct retained_walk *walk = retained_walk_new(retained, str_of(filter));
    struct publication *found;
    size_t met = 0, all = 0;
    int64_t longest_ns = 0, total_ns = 0;
    enum retained_step step = RETAINED_LATER;

    while (step != RETAINED_END) {
        size_t steps = 1000;
        int64_t began_ns = cpu_ns();
        while ((step = retained_walk_next(walk, 0, &steps, &found)) == RETAINED_FOUND)
            met++;
        int64_t took_ns = cpu_ns() - began_ns;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
        total_ns += took_ns;
        all += 1000 - steps;
    }
    printf("retained_walk_%s_%zu %.0f ns/message\n", name, retained_count(retained), (double)total_ns / (double)(met > 0 ? met : 1));
    printf("retained_walk_met_%s_%zu %zu messages\n", name, retained_count(retained), met);
    printf("retained_walk_steps_%s_%zu %zu steps\n", name, retained_count(retained), all);
    printf("retained_walk_longest_1000_steps_%s_%zu %.2f ms\n", name, retained_count(retained), (double)longest_ns / NS_PER_MS);
    retained_walk_free(walk);
}

static void bench_retained(unsigned count) {
    struct texts topics = sensors(count);
    struct hash_index plain = plain_new(&topics);
    struct publication **publications = malloc(count * sizeof(struct publication *));
    struct retained *retained = retained_new(&(struct retained_limits){ .count = 0 });
    unsigned *order = shuffled(LOOKUPS, count), *one_by_one = malloc(count * sizeof *order);
    size_t before;

    for (unsigned i = 0; i < count; i++) {
        publications[i] = publication_new(&(struct publication_parts){
            .topic = text_at(&topics, i), .payload = STR("21.5"), .client_id = STR("press-4"), .expires_ns = INT64_MAX });
        one_by_one[i] = i;
    }
    for (unsigned i = count - 1; i > 0; i--) {
        unsigned other = random_below(i + 1), was = one_by_one[i];
        one_by_one[i] = one_by_one[other];
        one_by_one[other] = was;
    }
    printf("retained_plain_hash_%u %.0f ns\n", count, plain_time(&plain, &topics, order));
    before = heap_bytes();
    printf("retained_set_new_%u %.0f ns\n", count, set_all(retained, publications, one_by_one, count));
    printf("retained_bytes_beside_publication_%u %.1f bytes/message\n", count, (double)(heap_bytes() - before) / count);
    printf("retained_set_again_%u %.0f ns\n", count, set_all(retained, publications, order, LOOKUPS));
    printf("retained_get_%u %.0f ns\n", count, get_time(retained, &topics, order));
    walk_time(retained, "all", "#");
    walk_time(retained, "one", "site/3/line/7/temp");
    walk_time(retained, "site", "site/3/#");
    walk_time(retained, "name", "site/+/line/+/temp");
    walk_time(retained, "name_of_line", "site/+/line/7/temp");
    int64_t began_ns = cpu_ns();
    retained_sweep(retained, 1, SIZE_MAX, NULL, NULL);
    printf("retained_sweep_%u %.0f ns/message\n", count, (double)(cpu_ns() - began_ns) / count);
    began_ns = cpu_ns();
    for (unsigned i = 0; i < count; i++)
        retained_remove(retained, text_at(&topics, one_by_one[i]));
    printf("retained_remove_%u %.0f ns\n", count, (double)(cpu_ns() - began_ns) / count);
    retained_free(retained);
    for (unsigned i = 0; i < count; i++)
        publication_unref(publications[i]);
    hash_index_release(&plain);
    free(publications);
    free(order);
    free(one_by_one);
    texts_free(&topics);
}

int main(void) {
    bench_tree(10);
    bench_tree(1000);
    bench_tree(100000);
    bench_shape("device", "");
    bench_shape("device_hash", "/#");
    bench_shape("device_name", "/set");
    bench_shape("device_plus_name", "/+/set");
    bench_longest_addition(1000000);
    bench_fan_out();
    bench_retained(1000);
    bench_retained(100000);
    bench_retained(1000000);
    return 0;
}
