-- One statement a table, in base64: `table NAME TAB rows checksum` of all rows in any order.
-- Not CHECKSUM TABLE: with an indexed virtual column it gives another number each time it is asked.
SET SESSION group_concat_max_len = 1048576;
SELECT to_base64(concat(
  'SELECT ', quote(concat('table ', to_base64(t.table_name))), ', concat(count(*), '' '', ',
  'coalesce(sum(cast(conv(left(md5(concat_ws(''/'', ', group_concat(
    'coalesce(', if(c.data_type IN ('float', 'double'),
      concat('concat(`', replace(c.column_name, '`', '``'), '` + 0e0)'),
      concat('hex(concat(`', replace(c.column_name, '`', '``'), '`))')), ', ''-'')' ORDER BY c.ordinal_position),
  ')), 15), 16, 10) AS unsigned)), 0)) FROM `', t.table_schema, '`.`', replace(t.table_name, '`', '``'), '`;'))
FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
WHERE t.table_schema = 'DATABASE' AND t.table_type = 'BASE TABLE'
GROUP BY t.table_schema, t.table_name;
