-- Everything about the shop that a restore could get wrong, told by the server.
CHECKSUM TABLE customers, `order` EXTENDED;
SELECT 'rows', COUNT(*) FROM customers UNION ALL SELECT 'rows', COUNT(*) FROM `order`;
SELECT 'column', table_name, column_name, column_type, is_nullable, character_set_name, collation_name
FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position;
SELECT 'index', table_name, index_name, seq_in_index, column_name, non_unique
FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index;
SELECT 'constraint', table_name, constraint_name, constraint_type
FROM information_schema.table_constraints WHERE table_schema = DATABASE() ORDER BY table_name, constraint_name;
SELECT 'view', table_name, view_definition FROM information_schema.views WHERE table_schema = DATABASE() ORDER BY table_name;
