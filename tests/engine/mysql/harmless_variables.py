"""Session variables that affect neither reading nor loading, by their reasons."""

from __future__ import annotations

BY_REASON = {
    "how fast, with how much memory, by which plan": """
        analyze_max_length analyze_sample_percentage aria_repair_threads aria_sort_buffer_size
        aria_stats_method big_tables bulk_insert_buffer_size column_compression_threshold
        column_compression_zlib_level column_compression_zlib_strategy
        column_compression_zlib_wrap connection_memory_chunk_size enable_secondary_engine_statistics
        eq_range_index_dive_limit expensive_subquery_limit histogram_generation_max_mem_size
        histogram_size histogram_type in_predicate_conversion_threshold innodb_ddl_buffer_size
        innodb_ddl_threads innodb_parallel_read_threads innodb_tmpdir
        internal_tmp_mem_storage_engine join_buffer_size join_buffer_space_limit join_cache_level
        low_priority_updates max_length_for_sort_data max_rowid_filter_size max_seeks_for_key
        max_tmp_tables mhnsw_ef_search mrr_buffer_size myisam_repair_threads
        myisam_sort_buffer_size myisam_stats_method optimizer_adjust_secondary_key_costs
        optimizer_extra_pruning_depth optimizer_join_limit_pref_ratio optimizer_max_sel_arg_weight
        optimizer_max_sel_args optimizer_max_subgraph_pairs optimizer_prune_level
        optimizer_scan_setup_cost optimizer_search_depth optimizer_selectivity_sampling_limit
        optimizer_switch optimizer_use_condition_selectivity optimizer_where_cost
        preload_buffer_size query_alloc_block_size query_cache_strip_comments
        query_cache_wlock_invalidate query_prealloc_size range_alloc_block_size read_buffer_size
        read_rnd_buffer_size rowid_merge_buff_size secondary_engine_cost_threshold
        select_into_buffer_size select_into_disk_sync select_into_disk_sync_delay
        set_operations_buffer_size transaction_alloc_block_size transaction_prealloc_size
        use_stat_tables innodb_table_locks""",
    "what is written to logs, or told besides": """
        end_markers_in_json explain_format explain_json_format_version log_disabled_statements
        log_queries_not_using_indexes log_slow_admin_statements log_slow_always_query_time
        log_slow_disabled_statements log_slow_filter log_slow_max_warnings
        log_slow_min_examined_row_limit log_slow_query log_slow_query_time log_slow_rate_limit
        log_slow_slave_statements log_slow_verbosity log_warnings long_query_time
        min_examined_row_limit new_mode note_verbosity optimizer_trace optimizer_trace_features
        optimizer_trace_limit optimizer_trace_max_mem_size optimizer_trace_offset profiling
        profiling_history_size progress_report_time session_track_gtids session_track_schema
        session_track_state_change session_track_system_variables session_track_transaction_info
        slow_query_log sql_log_off""",
    "replication and clusters: what is loaded reaches others as the server's operator has it": """
        binlog_alter_two_phase binlog_annotate_row_events binlog_direct_non_transactional_updates
        binlog_format binlog_row_image binlog_row_value_options binlog_rows_query_log_events
        binlog_transaction_compression binlog_transaction_compression_level_zstd
        default_master_connection group_replication_consistency gtid_domain_id gtid_next gtid_owned
        gtid_seq_no immediate_server_version max_relay_log_size original_commit_timestamp
        original_server_version pseudo_replica_mode pseudo_slave_mode rbr_exec_mode
        require_row_format server_id skip_parallel_replication skip_replication sql_log_bin
        sql_slave_skip_counter wsrep_causal_reads wsrep_dirty_reads wsrep_gtid_seq_no wsrep_on
        wsrep_osu_method wsrep_retry_autocommit wsrep_sync_wait wsrep_trx_fragment_size
        wsrep_trx_fragment_unit xa_detach_on_prepare""",
    "the connection itself, before there is a session": """
        deadlock_search_depth_long deadlock_search_depth_short deadlock_timeout_long
        deadlock_timeout_short max_allowed_packet max_user_connections mysqlx_read_timeout
        mysqlx_wait_timeout mysqlx_write_timeout net_buffer_length net_retry_count redirect_url
        resultset_metadata tcp_nodelay thread_pool_priority""",
    "what a session is told, and cannot set": """
        error_count external_user in_transaction last_gtid proxy_user statement_id
        warning_count""",
    "only for one session, with no value for all": """
        identity insert_id last_insert_id pseudo_thread_id rand_seed1 rand_seed2 timestamp""",
    "follows from another one, or is always spelt out": """
        character_set_connection character_set_database character_set_filesystem
        character_set_server collation_database collation_server default_storage_engine
        default_tmp_storage_engine storage_engine""",
    "statements that are neither read nor loaded": """
        enable_cascade_triggers external_table_secondary_storage_engine
        external_table_storage_engine generated_random_password_length innodb_snapshot_isolation
        max_delayed_threads max_insert_delayed_threads max_sp_recursion_depth
        transaction_allow_batching updatable_views_with_limit""",
    "how a full-text index is built: the target's own choice": """
        innodb_ft_enable_stopword innodb_ft_user_stopword_table""",
    "kept with the definition that was made under it": """
        mhnsw_default_distance mhnsw_default_m""",
    "only tables with a history, whose dump asks for all of it": """
        system_versioning_asof system_versioning_insert_history""",
    "old ways that no server of today has": "old",
}
HARMLESS = {name: reason for reason, names in BY_REASON.items() for name in names.split()}
