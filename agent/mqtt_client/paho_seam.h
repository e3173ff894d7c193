/*
 * agent/mqtt_client/paho_seam.h: what the files that stand in for Paho's system calls need of each other. paho_wraps.c
 * has links and acknowledgements, paho_sockets.c sockets, paho_memory.c memory, paho_quiet.c what Paho does beside its work.
 */
#ifndef HELIOGRAF_MQTT_CLIENT_PAHO_SEAM_H
#define HELIOGRAF_MQTT_CLIENT_PAHO_SEAM_H

#include "agent/mqtt_client/paho_wraps.h"

/* The link that was looked up last and is about to be connected, once; NULL when it is nobody's of ours. Send thread.
 */
struct paho_link *paho_link_take_routed(void);
void paho_link_set_error(struct paho_link *link, int error);

bool paho_sockets_init(struct err *err);
/* The link behind a socket of Paho's, or NULL. Under Paho's lock. */
struct paho_link *paho_socket_link(int fd);

bool paho_quiet_used(void);

/*
 * Around the reading of a packet by this thread. At its end all that was allocated for it is freed, unless `kept`: it became a packet. True
 * when there was something.
 */
void paho_packet_begin(void);
bool paho_packet_end(bool kept);

#endif
