-- A very small shop with one of each thing that a backup could lose.
CREATE TABLE customers (id int PRIMARY KEY, name varchar(80) NOT NULL UNIQUE, joined datetime(6) NOT NULL) CHARACTER SET utf8mb4;
CREATE TABLE `order` (
  id int PRIMARY KEY,
  customer_id int NOT NULL,
  state enum('new', 'sent') NOT NULL,
  amount decimal(10, 2) CHECK (amount >= 0),
  picture blob,
  KEY order_by_state (state, amount),
  FOREIGN KEY (customer_id) REFERENCES customers (id)
) CHARACTER SET utf8mb4;
INSERT INTO customers SELECT seq, CONCAT('Ärzte & Söhne ', seq), '2026-01-01 00:00:00.000001' + INTERVAL seq HOUR FROM seq_1_to_500;
INSERT INTO `order` SELECT seq, 1 + seq % 500, ELT(1 + seq % 2, 'new', 'sent'), seq / 100,
  IF(seq % 3 > 0, UNHEX(REPEAT(MD5(seq), 8)), NULL) FROM seq_1_to_5000;
CREATE VIEW sent AS SELECT c.name, o.amount FROM `order` AS o JOIN customers AS c ON c.id = o.customer_id WHERE o.state = 'sent';
