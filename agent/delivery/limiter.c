/* agent/delivery/limiter.c: see limiter.h. */
#include "agent/delivery/limiter.h"

#include <stdbool.h>

#include "agent/base/clock.h"

static const double tolerance = 3, steepest = 0.5;
static const double least_usual_ns = 20 * (double)NS_PER_MS; /* below that a disk and a scheduler are as often slow as overloaded */
static const double rising_ns = 300 * (double)NS_PER_S, falling_ns = 30 * (double)NS_PER_S;
static const int64_t lesson_ns = 5 * NS_PER_S; /* one answer counts for so long at most, however rare they are */
static const int64_t longest_rest_ns = 10 * NS_PER_S;
enum { SMALLEST_CLASS_BITS = 10, ROUND_LEAST = 2 };

void limiter_init(struct limiter *limiter, unsigned most) {
    *limiter = (struct limiter){ .most = most, .limit = most };
}

static struct limiter_class *class_of(struct limiter *limiter, uint64_t bytes) {
    unsigned class = 0;

    for (bytes >>= SMALLEST_CLASS_BITS; bytes > 0 && class < LIMITER_CLASSES - 1; bytes >>= 1)
        class++;
    return &limiter->classes[class];
}

/* A moving average weighted by time, so that it is the same for many requests a second and for few. */
static void learn(struct limiter_class *class, double duration_ns, int64_t now_ns) {
    int64_t passed_ns = now_ns - class->learned_ns;
    double passed = (double)(passed_ns < 0 ? 0 : passed_ns < lesson_ns ? passed_ns : lesson_ns);

    class->learned_ns = now_ns;
    if (class->usual_ns == 0)
        class->usual_ns = duration_ns;
    else
        class->usual_ns += (duration_ns - class->usual_ns) * passed /
                           (passed + (duration_ns > class->usual_ns ? rising_ns : falling_ns));
}

static void raise_limit(struct limiter *limiter) {
    limiter->slow = 0;
    limiter->limit += limiter->limit > 1 ? 1 / limiter->limit : 1;
    if (limiter->limit > limiter->most)
        limiter->limit = limiter->most;
}

static void lower_limit(struct limiter *limiter, int64_t now_ns) {
    double factor = 1 / limiter->best;

    limiter->limit *= factor > steepest ? factor : steepest;
    if (limiter->limit < LIMITER_LOWEST)
        limiter->limit = LIMITER_LOWEST;
    limiter->slow = 0;
    limiter->lowered_ns = now_ns;
}

void limiter_answer(struct limiter *limiter, int64_t began_ns, int64_t duration_ns, uint64_t bytes) {
    struct limiter_class *class = class_of(limiter, bytes);
    double usual = class->usual_ns > least_usual_ns ? class->usual_ns : least_usual_ns;
    double excess = (double)duration_ns / (tolerance * usual);
    bool first = class->usual_ns == 0; /* nothing to compare it with */

    learn(class, (double)duration_ns, began_ns + duration_ns);
    if (excess <= 1 || first) {
        raise_limit(limiter);
        return;
    }
    if (began_ns < limiter->lowered_ns)
        return;
    limiter->duration_ns = duration_ns;
    limiter->usual_ns = (int64_t)usual;
    if (limiter->slow == 0 || excess < limiter->best)
        limiter->best = excess;
    limiter->slow++;
    if (limiter->slow >= ROUND_LEAST && limiter->slow >= limiter_slots(limiter))
        lower_limit(limiter, began_ns + duration_ns);
}

unsigned limiter_slots(const struct limiter *limiter) {
    return limiter->limit > 1 ? (unsigned)limiter->limit : 1;
}

int64_t limiter_rest_ns(const struct limiter *limiter, int64_t duration_ns) {
    double rest;

    if (limiter->limit >= 1)
        return 0;
    rest = (double)duration_ns * (1 / limiter->limit - 1);
    return rest < (double)longest_rest_ns ? (int64_t)rest : longest_rest_ns;
}
