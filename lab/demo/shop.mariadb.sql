-- A small shop with one of everything: about 70 MB of tables when loaded, the same rows every time.
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00';
SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION';

CREATE TABLE customers (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name varchar(120) NOT NULL,
  email varchar(190) UNIQUE,
  born date,
  joined datetime(6) NOT NULL,
  credit decimal(12, 2) NOT NULL DEFAULT 0,
  flags set('newsletter', 'vip', 'it''s odd') NOT NULL DEFAULT '',
  name_upper varchar(120) AS (upper(name)) STORED,
  first_letter char(1) AS (left(name, 1)) VIRTUAL,
  KEY by_letter (first_letter)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE products (
  sku char(8) CHARACTER SET ascii NOT NULL PRIMARY KEY,
  title varchar(200) NOT NULL,
  price decimal(10, 2) NOT NULL,
  weight_kg float,
  attributes json NOT NULL,
  FULLTEXT KEY by_title (title)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE pictures (
  sku char(8) CHARACTER SET ascii NOT NULL,
  number smallint NOT NULL,
  picture mediumblob,
  PRIMARY KEY (sku, number),
  FOREIGN KEY (sku) REFERENCES products (sku)
) ENGINE = InnoDB;
CREATE TABLE orders (
  id bigint NOT NULL AUTO_INCREMENT,
  customer_id bigint unsigned NOT NULL,
  placed timestamp NOT NULL,
  state enum('new', 'paid', 'sent', 'returned; "maybe"') NOT NULL,
  note text,
  PRIMARY KEY (id, placed),
  KEY by_customer (customer_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4
PARTITION BY RANGE (unix_timestamp(placed)) (
  PARTITION p2025 VALUES LESS THAN (1767225600),
  PARTITION p2026 VALUES LESS THAN MAXVALUE);
CREATE TABLE order_items (
  order_id bigint NOT NULL,
  position smallint NOT NULL,
  sku char(8) CHARACTER SET ascii NOT NULL,
  quantity int NOT NULL CHECK (quantity > 0),
  price double NOT NULL,
  PRIMARY KEY (order_id, position),
  FOREIGN KEY (sku) REFERENCES products (sku)
) ENGINE = InnoDB;
-- Every common type, its edges included.
CREATE TABLE types (
  id int PRIMARY KEY, a tinyint, b smallint unsigned, c mediumint, d bigint unsigned, e float, f double, g decimal(65, 30),
  h bit(8), i char(10), j varchar(100), k binary(4), l varbinary(10), m tinyblob, n longblob, o text, p date, q time(6),
  r datetime(3), s timestamp(6) NULL, t year, u enum('a', 'b,c', ''), v set('x', 'y'), w json, x point, y geometry,
  z varchar(40) CHARACTER SET latin1, aa varchar(40) CHARACTER SET utf16, bb uuid, cc inet6
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
INSERT INTO types VALUES
  (1, -128, 65535, -8388608, 18446744073709551615, 1.1, 0.1, 12345678901234567890123456789012345.123456789012345678901234567890,
   b'10101010', 'x', 'tab\tnewline\nquote''back\\slash\0zero', x'00FF10', x'', '', x'00', '😀 größe', '9999-12-31', '-838:59:59.999999',
   '2026-11-20 02:00:00.123', '2038-01-19 03:14:07.999999', 2155, 'b,c', 'x,y', '{"a": [1, 2.50, null]}', ST_GeomFromText('POINT(1 2)'),
   ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326), 'größe', 'größe', uuid(), '::1'),
  (2, 127, 0, 8388607, 0, -3.402823466e38, 5e-324, 0, b'0', '', '', x'', x'00', NULL, '', '', '1000-01-01', '838:59:59', '1000-01-01',
   '1970-01-01 00:00:01', 1901, '', '', '[]', NULL, NULL, '', '', NULL, NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL);
-- Names that break naive tools.
CREATE TABLE `Order "Details"``(v2.0); DROP` (`select` int PRIMARY KEY, `größe in €` text, `new
line` text, `back\slash` text) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
INSERT INTO `Order "Details"``(v2.0); DROP` SELECT seq, concat('Größe ', seq), 'a\nb', '\\' FROM seq_1_to_500;
CREATE TABLE no_rows (id int) ENGINE = InnoDB;
CREATE TABLE no_key (a int, b varchar(20)) ENGINE = InnoDB;
INSERT INTO no_key SELECT seq % 10, concat('row ', seq % 100) FROM seq_1_to_5000;
CREATE SEQUENCE invoice_number START WITH 100000 INCREMENT BY 7;

INSERT INTO customers (name, email, born, joined, credit, flags)
SELECT concat('Customer ', seq), concat('c', seq, '@example.org'), date '1950-01-01' + INTERVAL seq % 20000 DAY,
       timestamp '2025-01-01 00:00:00' + INTERVAL seq * 10 MINUTE, (seq * 13 % 100000) / 100, seq % 8
FROM seq_1_to_30000;
INSERT INTO products
SELECT lpad(seq, 8, '0'), concat('Product ', md5(seq)), (seq % 1000) * 1.01, seq / 7,
       json_object('colour', md5(seq), 'sizes', json_array(seq, seq + 1)) FROM seq_1_to_3000;
-- Incompressible pictures of about 16 KiB, one in ten empty, one in ten missing.
SET SESSION group_concat_max_len = 1048576;
INSERT INTO pictures
SELECT lpad(p.seq, 8, '0'), 1, CASE p.seq % 10 WHEN 0 THEN '' WHEN 1 THEN NULL ELSE
  (SELECT unhex(group_concat(md5(concat(p.seq, '/', k.seq)) ORDER BY k.seq SEPARATOR '')) FROM seq_1_to_1024 k) END
FROM seq_1_to_1500 p;
INSERT INTO orders (customer_id, placed, state, note)
SELECT 1 + seq % 30000, timestamp '2025-01-01 00:00:00' + INTERVAL seq * 4 MINUTE, 1 + seq % 4, IF(seq % 3 = 0, md5(seq), NULL)
FROM seq_1_to_100000;
INSERT INTO order_items
SELECT 1 + seq DIV 3, seq % 3, lpad(1 + seq % 3000, 8, '0'), 1 + seq % 5, seq / 3 FROM seq_0_to_299999;
DO nextval(invoice_number);
DO nextval(invoice_number);

CREATE VIEW best_sellers AS SELECT sku, sum(quantity) AS sold FROM order_items GROUP BY sku HAVING sum(quantity) > 100;
CREATE VIEW `a view on best sellers` AS SELECT p.title, b.sold FROM best_sellers b JOIN products p USING (sku);
DELIMITER //
CREATE TRIGGER stamp BEFORE INSERT ON orders FOR EACH ROW BEGIN SET NEW.note = coalesce(NEW.note, 'it''s new; really'); END//
CREATE FUNCTION price_of(wanted char(8)) RETURNS decimal(10, 2) READS SQL DATA
BEGIN DECLARE found decimal(10, 2); SELECT price INTO found FROM products WHERE sku = wanted; RETURN found; END//
CREATE PROCEDURE restock(IN wanted char(8)) BEGIN SELECT price_of(wanted); END//
CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2027-01-01 00:00:00' DO DELETE FROM no_rows//
DELIMITER ;
CREATE USER IF NOT EXISTS shop_app@localhost IDENTIFIED VIA unix_socket;
CREATE USER IF NOT EXISTS shop_report@localhost IDENTIFIED VIA unix_socket;
GRANT SELECT, INSERT, UPDATE ON customers TO shop_app@localhost;
GRANT SELECT (id, name) ON customers TO shop_report@localhost;
GRANT SELECT ON * TO shop_report@localhost WITH GRANT OPTION;
GRANT EXECUTE ON PROCEDURE restock TO shop_app@localhost;
