/* agent/mqtt_client/connection_properties.c: MQTT 5's properties as Paho has them, to and from ours. */
#include "agent/mqtt_client/connection_parts.h"

#include <string.h>

#include <MQTTAsync.h>

static MQTTLenString lenstring(struct str text) {
    return (MQTTLenString){ (int)text.len, (char *)text.data };
}

static bool add_property(MQTTProperties *to, const struct mqtt_property *from) {
    const struct mqtt_property_kind *kind = mqtt_property_kind(from->id);
    MQTTProperty property = { .identifier = (enum MQTTPropertyCodes)from->id };

    if (kind == NULL)
        return false;
    switch (kind->type) {
    case MQTT_TYPE_BYTE:
        property.value.byte = (unsigned char)from->number;
        break;
    case MQTT_TYPE_TWO_BYTES:
        property.value.integer2 = (unsigned short)from->number;
        break;
    case MQTT_TYPE_FOUR_BYTES:
    case MQTT_TYPE_VARIABLE:
        property.value.integer4 = from->number;
        break;
    case MQTT_TYPE_PAIR:
        property.value.value = lenstring(from->value);
        property.value.data = lenstring(from->text);
        break;
    case MQTT_TYPE_BINARY:
    case MQTT_TYPE_STRING:
        property.value.data = lenstring(from->text);
        break;
    }
    return MQTTProperties_add(to, &property) == 0;
}

bool connection_add_properties(void *to, const struct mqtt_properties *list) {
    for (size_t i = 0; list != NULL && i < list->count; i++)
        if (!add_property(to, &list->items[i]))
            return false;
    return true;
}

static bool has_text(const MQTTProperty *property) {
    return MQTTProperty_getType(property->identifier) >= MQTTPROPERTY_TYPE_BINARY_DATA;
}

static bool is_pair(const MQTTProperty *property) {
    return property->identifier == MQTTPROPERTY_CODE_USER_PROPERTY;
}

size_t connection_properties_count(const void *properties) {
    return properties != NULL ? (size_t)((const MQTTProperties *)properties)->count : 0;
}

size_t connection_properties_bytes(const void *properties) {
    const MQTTProperties *from = properties;
    size_t bytes = 0;

    for (int i = 0; from != NULL && i < from->count; i++)
        if (has_text(&from->array[i]))
            bytes += (size_t)from->array[i].value.data.len +
                     (is_pair(&from->array[i]) ? (size_t)from->array[i].value.value.len : 0);
    return bytes;
}

static struct str copy_text(char **text, MQTTLenString from) {
    struct str copy = str_make(*text, (size_t)from.len);

    if (from.len > 0)
        memcpy(*text, from.data, (size_t)from.len);
    *text += from.len;
    return copy;
}

static uint32_t number_of(const MQTTProperty *property) {
    switch (MQTTProperty_getType(property->identifier)) {
    case MQTTPROPERTY_TYPE_BYTE:
        return property->value.byte;
    case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER:
        return property->value.integer2;
    default:
        return property->value.integer4;
    }
}

void connection_properties_copy(const void *properties, struct mqtt_property *out, char *text) {
    const MQTTProperties *from = properties;

    for (int i = 0; from != NULL && i < from->count; i++) {
        const MQTTProperty *property = &from->array[i];
        out[i] = (struct mqtt_property){ .id = (enum mqtt_property_id)property->identifier, .text = STR_EMPTY, .value = STR_EMPTY };
        if (!has_text(property)) {
            out[i].number = number_of(property);
            continue;
        }
        out[i].text = copy_text(&text, property->value.data);
        if (is_pair(property))
            out[i].value = copy_text(&text, property->value.value);
    }
}
