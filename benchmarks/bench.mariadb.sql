-- Tables as sysbench makes them: random text beside an integer key, about 270 MB as SQL; beside them many small ones.
CREATE TABLE sbtest1 (id int NOT NULL PRIMARY KEY, k int NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL, KEY k (k)) ENGINE = InnoDB;
INSERT INTO sbtest1 SELECT seq, seq * 7919 % 1000000, concat(sha2(seq, 224), sha2(seq, 224)), sha2(-seq, 224) FROM seq_1_to_:mysql_rows;
CREATE TABLE sbtest2 LIKE sbtest1;
INSERT INTO sbtest2 SELECT * FROM sbtest1;
DELIMITER ;;
CREATE PROCEDURE small_tables(IN many int) BEGIN
  DECLARE number int DEFAULT 1;
  WHILE number <= many DO
    EXECUTE IMMEDIATE CONCAT('CREATE TABLE small', number, ' LIKE sbtest1');
    EXECUTE IMMEDIATE CONCAT('INSERT INTO small', number, ' SELECT * FROM sbtest1 WHERE id <= 200');
    SET number = number + 1;
  END WHILE;
END;;
DELIMITER ;
CALL small_tables(:mysql_small_tables);
DROP PROCEDURE small_tables;
ANALYZE TABLE sbtest1, sbtest2;
