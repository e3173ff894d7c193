#include "agent/broker/store.h"
struct store *store_open(const struct store_options *o, const struct store_reader *r, struct store_recovery *c, struct err *e){(void)o;(void)r;(void)c;err_set(e,ERR_UNSUPPORTED,"no store");return NULL;}
bool store_start(struct store *s, struct loop *l, void (*d)(void *, uint64_t), void *c, struct err *e){(void)s;(void)l;(void)d;(void)c;(void)e;return true;}
bool store_stop(struct store *s, int64_t t){(void)s;(void)t;return true;}
void store_close(struct store *s){(void)s;}
void store_put_session(struct store *s, const struct stored_session *x){(void)s;(void)x;}
void store_delete_session(struct store *s, uint64_t x){(void)s;(void)x;}
void store_put_subscription(struct store *s, uint64_t x, struct str f, const struct subscription_terms *t){(void)s;(void)x;(void)f;(void)t;}
void store_delete_subscription(struct store *s, uint64_t x, struct str f){(void)s;(void)x;(void)f;}
void store_put_received(struct store *s, uint64_t x, uint16_t p){(void)s;(void)x;(void)p;}
void store_delete_received(struct store *s, uint64_t x, uint16_t p){(void)s;(void)x;(void)p;}
void store_put_publication(struct store *s, struct publication *p){(void)s;(void)p;}
void store_delete_publication(struct store *s, uint64_t p){(void)s;(void)p;}
void store_put_delivery(struct store *s, const struct stored_delivery *d){(void)s;(void)d;}
void store_update_delivery(struct store *s, const struct stored_delivery *d){(void)s;(void)d;}
void store_delete_delivery(struct store *s, uint64_t a, uint64_t b){(void)s;(void)a;(void)b;}
void store_put_retained(struct store *s, struct str t, uint64_t p){(void)s;(void)t;(void)p;}
void store_delete_retained(struct store *s, struct str t){(void)s;(void)t;}
void store_put_delayed(struct store *s, uint64_t p, int64_t d){(void)s;(void)p;(void)d;}
void store_delete_delayed(struct store *s, uint64_t p){(void)s;(void)p;}
uint64_t store_ticket(const struct store *s){(void)s;return 0;}
bool store_has_changes(const struct store *s){(void)s;return false;}
void store_hand_over(struct store *s){(void)s;}
uint64_t store_durable(const struct store *s){(void)s;return 0;}
bool store_degraded(struct store *s, struct err *w){(void)s;(void)w;return false;}
bool store_is_full(const struct store *s){(void)s;return false;}
void store_collect(void *s, const struct metric_writer *w){(void)s;(void)w;}
