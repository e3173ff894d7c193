/* agent/spool/thin.c: placeholder */
#include "agent/spool/spool_internal.h"

void thin_oldest(struct spool *spool) {
    log_drop_first(spool, FATE_DROPPED_FULL);
}
