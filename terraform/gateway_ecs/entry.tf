# The public way in: TLS at a load balancer, plain HTTP from there to the instances inside the network.
resource "aws_security_group" "entry" {
  name        = "${var.gateway.name}-entry"
  description = "the gateway's load balancer"
  vpc_id      = var.entry.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  description       = "clients"
  security_group_id = aws_security_group.entry.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "to_gateway" {
  description                  = "to the instances"
  security_group_id            = aws_security_group.entry.id
  referenced_security_group_id = var.gateway.network.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 8000
  to_port                      = 8000
}

resource "aws_vpc_security_group_ingress_rule" "from_entry" {
  description                  = "from the load balancer"
  security_group_id            = var.gateway.network.security_group_id
  referenced_security_group_id = aws_security_group.entry.id
  ip_protocol                  = "tcp"
  from_port                    = 8000
  to_port                      = 8000
}

resource "aws_lb" "gateway" {
  #checkov:skip=CKV_AWS_91:the gateway logs every request itself
  #checkov:skip=CKV_AWS_150:deletion protection is a variable, true by default
  #checkov:skip=CKV2_AWS_28:the gateway wants keys and limits rates and sizes; a web firewall is the bank's choice
  #checkov:skip=CKV2_AWS_20:nothing listens on port 80, so there is nothing to redirect
  name                       = var.gateway.name
  load_balancer_type         = "application"
  subnets                    = var.entry.subnet_ids
  security_groups            = [aws_security_group.entry.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.entry.protect
}

resource "aws_lb_target_group" "gateway" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer, inside the private network
  name                 = var.gateway.name
  port                 = 8000
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = var.entry.vpc_id
  deregistration_delay = 30
  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = 30
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.gateway.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.entry.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}
