/* agent/loop/gather.c: see gather.h. */
#include "agent/loop/gather.h"

bool gather_is_worth_it(struct gather *gather) {
    unsigned served = gather->patient;
    bool in_vain = gather->waited && served < GATHER_WORTH;

    gather->patient = 0;
    gather->waited = false;
    if (in_vain)
        gather->pause = GATHER_PAUSE;
    if (served == 0)
        return false;
    if (gather->pause > 0) {
        gather->pause--;
        return false;
    }
    gather->waited = true;
    return true;
}
