/* SPDX-License-Identifier: Apache-2.0 */
/* Are log lines bounded, unforgeable and free when nobody listens; do first words win; is every error named? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/log.h"
#include "base/slice.h"
#include "base/why.h"

static struct {
	int lines;
	enum mesh_log_level level;
	char subject[16], text[2048];
} heard;

static void hear(void *user, enum mesh_log_level level, const char *subject, const char *text)
{
	assert_ptr_equal(user, &heard);
	heard.lines++;
	heard.level = level;
	snprintf(heard.subject, sizeof(heard.subject), "%s", subject);
	snprintf(heard.text, sizeof(heard.text), "%s", text);
}

static int formatted(int *count)
{
	return ++*count;
}

static void logging(void **state)
{
	struct log log = {hear, &heard, MESH_LOG_WARNING};
	char big[3000];
	int count = 0;

	heard.lines = 0;
	MESH_LOG_W(&log, "ads", "took %d", formatted(&count));
	assert_int_equal(heard.lines, 1);
	assert_int_equal(heard.level, MESH_LOG_WARNING);
	assert_string_equal(heard.subject, "ads");
	assert_string_equal(heard.text, "took 1");
	MESH_LOG_I(&log, "ads", "took %d", formatted(&count));
	MESH_LOG_D(&log, "ads", "took %d", formatted(&count));
	assert_int_equal(heard.lines, 1);
	assert_int_equal(count, 1); /* not even evaluated */
	MESH_LOG_E(&log, "tls", "%s", "a\nERROR forged\r\t\x1b[31m\x7f\xc3\xa4");
	assert_string_equal(heard.text, "a?ERROR forged???[31m?\xc3\xa4");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	MESH_LOG_E(&log, "tls", "%s", big);
	assert_int_equal(strlen(heard.text), 1023);
	log.sink = NULL;
	MESH_LOG_E(&log, "tls", "%d", formatted(&count));
	mesh_log_write(&log, MESH_LOG_ERROR, "tls", "direct");
	assert_int_equal(heard.lines, 3);
	assert_int_equal(count, 1);
}

static void first_words_win(void **state)
{
	struct why why = {""};
	char big[1000];

	assert_int_equal(mesh_why(NULL, MESH_ERROR_INVALID, "nobody asks"), MESH_ERROR_INVALID);
	assert_int_equal(mesh_why(&why, MESH_ERROR_INVALID, "port %d: too large", 70000), MESH_ERROR_INVALID);
	assert_int_equal(mesh_why(&why, MESH_ERROR_CONFIG, "the listener is bad"), MESH_ERROR_CONFIG);
	assert_string_equal(why.text, "port 70000: too large");
	why.text[0] = '\0';
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	mesh_why(&why, MESH_ERROR_INVALID, "%s", big);
	assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
}

static const int all[] = {
#define MESH_ERROR_ENTRY(name, number, class, flag, text) number,
#include <mesh/error.def>
#undef MESH_ERROR_ENTRY
};

/* Envoy's response flags; a typing error in error.def would end up in somebody's dashboard. */
static const char *const flags[] = {"-",  "NR",	 "NC", "UH", "UF", "UC", "UR",	 "UPE", "DC",  "DPE",
				    "UO", "URX", "RL", "UT", "SI", "DT", "RBAC", "FI",	"UAEX", "DF"};

static void errors(void **state)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		bool known = false;

		assert_true(all[i] < 0);
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(all[i], all[j]);
			assert_string_not_equal(mesh_error_name(all[i]), mesh_error_name(all[j]));
		}
		assert_int_not_equal(mesh_error_class(all[i]), MESH_CLASS_NONE);
		assert_true(strlen(mesh_error_text(all[i])) > 5);
		for (size_t j = 0; j < sizeof(flags) / sizeof(flags[0]); j++)
			known = known || !strcmp(mesh_error_flag(all[i]), flags[j]);
		assert_true(known);
	}
	assert_int_equal(mesh_error_class(MESH_ERROR_NO_ROUTE), MESH_CLASS_CONFIG);
	assert_string_equal(mesh_error_name(MESH_ERROR_NO_ROUTE), "NO_ROUTE");
	assert_string_equal(mesh_error_flag(MESH_ERROR_NO_ROUTE), "NR");
	assert_string_equal(mesh_error_name(0), "OK");
	assert_string_equal(mesh_error_name(5), "OK");
	assert_string_equal(mesh_error_text(0), "no error");
	assert_string_equal(mesh_error_flag(0), "-");
	assert_int_equal(mesh_error_class(0), MESH_CLASS_NONE);
	assert_string_equal(mesh_error_name(-9999), "UNKNOWN");
	assert_string_equal(mesh_error_text(-9999), "unknown error");
	assert_string_equal(mesh_error_flag(-9999), "-");
	assert_int_equal(mesh_error_class(-9999), MESH_CLASS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logging),
		cmocka_unit_test(first_words_win),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
