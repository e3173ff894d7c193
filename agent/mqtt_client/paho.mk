# How Paho's static archive is linked: `paho` is what must exist first, `paho_link` goes behind our own archive.
#
# Not the archive itself is linked but a copy whose objects call some functions under other names, paho_recv() for recv();
# those are ours, in paho_wraps.c, which says why. Only references are renamed and only in Paho's objects: nobody else's
# recv() changes, and a stock archive in this place would leave ours uncalled, which the source notices and reports.
OBJCOPY      ?= objcopy
NM           ?= nm
paho         := $B/paho/libpaho.a
paho_link     = $(paho) $(lib)
paho_archive  = $(shell $(CC) -print-file-name=libpaho-mqtt3as.a)
paho_install := install Eclipse Paho for C 1.3.12 with its static archive (Debian: apt-get install libpaho-mqtt-dev)

# What the archive must call, or a wrap would silently do nothing. The last five are defined in it too, in the objects that keep
# their own names below. What MQTTPacket.o defines itself is renamed in all others. The objects that make packets have an allocator
# that knows which packet it is for.
paho_wrapped := recv poll close connect getaddrinfo getsockopt usleep getenv SSL_CTX_set_cipher_list \
                StackTrace_entry StackTrace_exit mymalloc myrealloc myfree
paho_packets := MQTTPacket_send_puback MQTTPacket_send_pubrec MQTTPacket_send_publish MQTTPacket_Factory
paho_rename   = $(foreach name,$1,--redefine-sym $(name)=paho_$(name))
paho_memory   = --redefine-sym mymalloc=paho_packet_malloc --redefine-sym myrealloc=paho_packet_realloc
paho_others   = $(filter-out mymalloc myrealloc,$(paho_wrapped))

$(paho): agent/mqtt_client/paho.mk
	@test -r "$(paho_archive)" || { \
	    echo "error: the static archive libpaho-mqtt3as.a is missing: $(paho_install)" >&2; exit 1; }
	@for name in $(paho_packets); do $(NM) "$(paho_archive)" 2>/dev/null | grep -q " T $$name\$$" || { \
	    echo "error: $(paho_archive) has no $$name, so acknowledgements could not be held: $(paho_install)" >&2; exit 1; }; done
	@for name in $(paho_packets) $(paho_wrapped); do $(NM) "$(paho_archive)" 2>/dev/null | grep -q " U $$name\$$" || { \
	    echo "error: $(paho_archive) does not call $$name as Paho 1.3.12 does: $(paho_install)" >&2; exit 1; }; done
	@rm -rf $(@D) && mkdir -p $(@D) && cd $(@D) && $(AR) x "$(paho_archive)"
	@cd $(@D) && for object in *.o; do case $$object in \
	    Heap.*|StackTrace.*) ;; \
	    MQTTPacket.*) $(OBJCOPY) $(call paho_rename,$(paho_others)) $(paho_memory) $$object ;; \
	    MQTTPacketOut.*|MQTTProperties.*) \
	        $(OBJCOPY) $(call paho_rename,$(paho_others) $(paho_packets)) $(paho_memory) $$object ;; \
	    *) $(OBJCOPY) $(call paho_rename,$(paho_wrapped) $(paho_packets)) $$object ;; esac || exit 1; done
	@cd $(@D) && $(AR) rcs $(@F) *.o && rm -f *.o
