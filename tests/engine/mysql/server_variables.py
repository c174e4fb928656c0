"""Variables that a server has and no session: their worst values, if they have any."""

from __future__ import annotations

import re

WORST: dict[str, tuple[str, ...]] = {
    "activate_all_roles_on_login": ("ON",),
    "aria_page_checksum": ("OFF",),
    "automatic_sp_privileges": ("OFF",),
    "concurrent_insert": ("'NEVER'",),
    "default_password_lifetime": ("1",),
    "delay_key_write": ("'ALL'",),
    "event_scheduler": ("OFF", "ON"),
    "flush": ("ON",),
    "ft_boolean_syntax": ("'+ -><()~*:\"\"&^'",),
    "global_connection_memory_limit": ("16777216",),
    "innodb_autoextend_increment": ("1",),
    "innodb_compression_algorithm": ("'none'",),
    "innodb_default_row_format": ("'redundant'", "'compact'"),
    "innodb_file_per_table": ("OFF",),
    "innodb_fill_factor": ("10",),
    "innodb_instant_alter_column_allowed": ("'never'",),
    "innodb_native_foreign_keys": ("ON",),
    "innodb_online_alter_log_max_size": ("65536",),
    "innodb_optimize_fulltext_only": ("ON",),
    "innodb_prefix_index_cluster_optimization": ("ON",),
    "innodb_stats_auto_recalc": ("OFF",),
    "innodb_stats_on_metadata": ("ON",),
    "innodb_stats_persistent": ("OFF",),
    "innodb_stats_traditional": ("OFF",),
    "innodb_stats_method": ("'nulls_ignored'",),
    "local_infile": ("OFF", "ON"),
    "log_bin_trust_function_creators": ("OFF", "ON"),
    "log_output": ("'NONE'",),
    "max_prepared_stmt_count": ("0",),
    "max_tmp_total_space_usage": ("65536",),
    "max_write_lock_count": ("1",),
    "myisam_data_pointer_size": ("2",),
    "mysql56_temporal_format": ("OFF",),
    "partial_revokes": ("ON",),
    "password_history": ("5",),
    "password_require_current": ("ON",),
    "password_reuse_interval": ("365",),
    "query_cache_size": ("1048576",),
    "read_only": ("ON",),
    "regexp_stack_limit": ("1",),
    "regexp_time_limit": ("1",),
    "require_secure_transport": ("ON",),
    "schema_definition_cache": ("256",),
    "secure_auth": ("OFF",),
    "stored_program_cache": ("256", "0"),
    "stored_program_definition_cache": ("256",),
    "strict_password_validation": ("OFF",),
    "sync_frm": ("OFF",),
    "table_definition_cache": ("400",),
    "table_encryption_privilege_check": ("ON",),
    "table_open_cache": ("1", "10"),
    "tablespace_definition_cache": ("256",),
    "temptable_max_mmap": ("0",),
    "temptable_max_ram": ("2097152",),
    "thread_cache_size": ("0",),
    "userstat": ("ON",),
}
# The target chooses where it stores tables: definitions differ in that, rows are equal.
OWN_CHOICE = {"innodb_default_row_format", "innodb_file_per_table", "mysql56_temporal_format"}
# The messages of servers in which no restore can work.
REFUSING = {
    "innodb_force_primary_key": ("ON", "'no_key'"),
    "innodb_read_only_compressed": ("ON", "SET GLOBAL innodb_read_only_compressed = OFF"),
    "super_read_only": ("ON", "super-read-only"),
}
_HARMLESS = re.compile(
    r"(performance_schema|mysqlx|federated|wsrep|slave|replica|replicate|rpl|relay|gtid|binlog|thread_pool|ssl"
    r"|admin|tls|sha256_password|caching_sha2_password|aria|key_cache|key_buffer|tcp|log|general_log"
    r"|slow|optimizer|source|master|sync|report|persist|host_cache|lower_case|character_sets|large_page|have"
    r"|innodb_(adaptive|api|buf|change_buffer|checksum|cmp_per|commit|compression|concurrency|data|dead"
    r"|dedicated|defragment|direct|disable|doublewrite|encrypt|extend|fast|flush|fsync|ft|idle|immediate"
    r"|io|log|lru|max|monitor|numa|old|open|page|print|purge|random|read|redo|replication|rollback|segment"
    r"|sort|spin|stats|status|sync|temp|thread|undo|use|validate|version|write|force_(load|recovery)"
    r"|autoinc|alter_copy|truncate))_?.*"
)
_OTHERS = """
    innodb_index_shrink max_binlog_total_size mhnsw_max_cache_size
    allow_suspicious_udfs date_format datetime_format debug_no_thread_alarm encrypt_binlog
    encrypt_tmp_files extra_port ignore_builtin_innodb ignore_db_dirs
    innodb_fatal_semaphore_wait_threshold innodb_linux_aio metadata_locks_cache_size
    metadata_locks_hash_instances myisam_block_size plugin_maturity secure_timestamp server_uid
    skip_grant_tables time_format version_malloc_library version_source_revision
    version_ssl_library authentication_policy auto_generate_certs back_log basedir bind_address
    build_id
    character_set_system check_proxy_users connect_timeout connection_memory_status_limit
    container_aware core_file create_admin_listener_thread datadir delayed_insert_limit
    delayed_insert_timeout delayed_queue_size disabled_storage_engines
    disconnect_on_expired_password encrypt_tmp_disk_tables enforce_gtid_consistency
    expire_logs_days extra_max_connections flush_time ft_max_word_len ft_min_word_len
    ft_query_expansion_limit ft_stopword_file global_connection_memory_status_limit hostname
    init_connect init_file init_replica init_slave keyring_operations large_files_support
    lc_messages_dir license locked_in_memory mandatory_roles activate_mandatory_roles
    max_binlog_cache_size max_binlog_size max_binlog_stmt_cache_size max_connect_errors
    max_connections max_digest_length max_password_errors max_relay_log_size
    myisam_max_sort_file_size myisam_mmap_size myisam_recover_options myisam_use_mmap
    ngram_token_size offline_mode open_files_limit pid_file plugin_dir port
    protocol_compression_algorithms protocol_version proxy_protocol_networks query_cache_limit
    query_cache_min_res_unit read_binlog_speed_limit secure_file_priv server_id server_id_bits
    server_memory server_uuid skip_external_locking skip_name_resolve skip_networking
    skip_replica_start skip_show_database skip_slave_start socket sql_replica_skip_counter
    sql_slave_skip_counter system_time_zone table_open_cache_instances table_open_cache_triggers
    thread_handling thread_stack tmpdir version version_comment version_compile_machine
    version_compile_os version_compile_zlib version_with_update """
_SINGLE = frozenset(_OTHERS.split())


def known(name: str) -> bool:
    """Whether a variable is tried, or was examined and found harmless."""
    return name in WORST or name in REFUSING or name in _SINGLE or bool(_HARMLESS.fullmatch(name))
